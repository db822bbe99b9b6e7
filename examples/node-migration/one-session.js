'use strict';

// One session for koa, express and axum: koa-generic-session in express-session's words.
//
// express-session and connect-redis stay as they are, axum has `SessionLayer::express`. koa-generic-session lets its
// application decide how the id travels and what a session looks like, so it is koa that learns the other's cookie
// (`connect.sid`) and record (`sess:<id>`, with `originalMaxAge` and `expires`):
//
//   app.use(session({ store, ...oneSession({ secrets: app.keys }).koa }));

const cookie = require('cookie');
const signature = require('cookie-signature');

const DAY = 24 * 60 * 60 * 1000;

// `name`, `prefix` and `cookie` are what express-session and connect-redis are given.
module.exports = function oneSession({ secrets, name = 'connect.sid', prefix = 'sess:', cookie: options = {} }) {
  // What stands in a new session, as express-session would put it there.
  const fresh = {
    originalMaxAge: options.maxAge ?? null, expires: null, httpOnly: true, path: '/', ...options, maxAge: null,
  };

  function read(ctx) {
    const value = cookie.parse(ctx.get('cookie'))[name];
    if (!value?.startsWith('s:')) return undefined;
    return secrets.map((secret) => signature.unsign(value.slice(2), secret)).find(Boolean);
  }

  function send(ctx, value, attributes) {
    const others = [ctx.response.get('set-cookie') || []].flat().filter((line) => !line.startsWith(`${name}=`));
    ctx.set('set-cookie', [...others, cookie.serialize(name, value, attributes)]);
  }

  const write = (ctx, id, attributes) => send(ctx, `s:${signature.sign(id, secrets[0])}`, attributes);

  // The member `cookie` as express-session writes it. `maxAge` is how a koa handler says how long a session lasts.
  function expressCookie(given) {
    const { maxAge, originalMaxAge, partitioned, priority, secure, httpOnly, domain, path, sameSite } = {
      ...fresh,
      ...given,
    };
    const age = maxAge ?? originalMaxAge;
    const expires = typeof age === 'number' ? new Date(Date.now() + age) : null;
    return { originalMaxAge: age, partitioned, priority, expires, secure, httpOnly, domain, path, sameSite };
  }

  const koa = {
    prefix,
    cookie: fresh,
    // Called with `this` as koa's context.
    sessionIdStore: {
      get() { return read(this); },
      set(id, session) { write(this, id, session.cookie); },
      reset() { send(this, '', { path: '/', httpOnly: true, expires: new Date(0) }); },
    },
    beforeSave(ctx, session) { session.cookie = expressCookie(session.cookie); },
    // connect-redis keeps a session without an expiry for a day; koa-redis would keep it for ever.
    ttl: (session) => (session.cookie.expires ? undefined : DAY),
  };

  // For the time of the change: a middleware in front of the session's, for visitors who come with koa's own cookie.
  // Their session moves to where all three look for it. What they had in express comes along, if it is not in the way.
  const moveIn = ({ client, key = 'koa.sid', prefix: from = 'koa:sess:' }) => async (ctx, next) => {
    const id = ctx.cookies.get(key, { signed: true });
    const theirs = id && JSON.parse(await client.get(from + id));
    if (theirs) {
      const other = read(ctx);
      const guest = other && JSON.parse(await client.get(prefix + other));
      const session = { ...guest, ...theirs, cookie: expressCookie(theirs.cookie) };
      const left = await client.pttl(from + id);
      // In one step: of two requests at one time the first one moves it, and none brings back what has ended.
      const move = "if redis.call('DEL', KEYS[1]) == 1 then redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2]) end";
      await client.eval(move, 2, from + id, prefix + id, JSON.stringify(session), left > 0 ? left : DAY);
      if (other) await client.del(prefix + other);
    }
    if (id && await client.exists(prefix + id)) {
      ctx.req.headers.cookie = cookie.serialize(name, `s:${signature.sign(id, secrets[0])}`);
      write(ctx, id, expressCookie(theirs?.cookie));
      ctx.cookies.set(key, null, { signed: true });
    }
    await next();
  };

  return { koa, moveIn };
};
