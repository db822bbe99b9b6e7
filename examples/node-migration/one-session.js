'use strict';

// One session for koa, express and axum: koa-generic-session in express-session's words.
//
// express-session and connect-redis stay as they are, axum has `SessionLayer::express`. koa-generic-session lets its
// application decide how the id travels and what a session looks like, so it is koa that learns the other's cookie
// (`connect.sid`) and record (`sess:<id>`, with `originalMaxAge` and `expires`):
//
//   app.use(session({ store, ...oneSession({ secrets: app.keys }) }));

const cookie = require('cookie');
const signature = require('cookie-signature');

const DAY = 24 * 60 * 60 * 1000;

// `name`, `prefix` and `cookie` are what express-session and connect-redis are given.
module.exports = function oneSession({ secrets, name = 'connect.sid', prefix = 'sess:', cookie: options = {} }) {
  // What stands in a new session, as express-session would put it there.
  const fresh = {
    originalMaxAge: options.maxAge ?? null, expires: null, httpOnly: true, path: '/', ...options, maxAge: null,
  };

  function send(ctx, value, attributes) {
    const others = [ctx.response.get('set-cookie') || []].flat().filter((line) => !line.startsWith(`${name}=`));
    ctx.set('set-cookie', [...others, cookie.serialize(name, value, attributes)]);
  }

  return {
    prefix,
    cookie: fresh,

    // Called with `this` as koa's context.
    sessionIdStore: {
      get() {
        const value = cookie.parse(this.get('cookie'))[name];
        if (!value?.startsWith('s:')) return undefined;
        return secrets.map((secret) => signature.unsign(value.slice(2), secret)).find(Boolean);
      },
      set(id, session) {
        send(this, `s:${signature.sign(id, secrets[0])}`, session.cookie);
      },
      reset() {
        send(this, '', { path: '/', httpOnly: true, expires: new Date(0) });
      },
    },

    // Runs right before a session is stored. `cookie.maxAge` is how a koa handler says how long it lasts.
    beforeSave(ctx, session) {
      const { maxAge: wanted, originalMaxAge, partitioned, priority, secure, httpOnly, domain, path, sameSite } = {
        ...fresh,
        ...session.cookie,
      };
      const age = wanted ?? originalMaxAge;
      const expires = typeof age === 'number' ? new Date(Date.now() + age) : null;
      session.cookie = {
        originalMaxAge: age, partitioned, priority, expires, secure, httpOnly, domain, path, sameSite,
      };
    },

    // connect-redis keeps a session without an expiry for a day; koa-redis would keep it for ever.
    ttl: (session) => (session.cookie.expires ? undefined : DAY),
  };
};
