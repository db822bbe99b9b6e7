'use strict';

// koa with koa-generic-session and koa-redis; each request says what to do with its session.
//
//   node koa.js '{"port": 3001, "redis": 6379, "keys": ["secret"], "options": {}, "one": false, "moveIn": false}'

const Koa = require('koa');
const session = require('koa-generic-session');
const redisStore = require('koa-redis');
const oneSession = require('../../examples/node-migration/one-session');
const { change, control, hold } = require('./gates');

const { port, redis, keys, options, one, moveIn, gensid } = JSON.parse(process.argv[2]);

const app = new Koa();
app.keys = keys ?? undefined;
app.use(async (ctx, next) => {
  if (await control(ctx.url)) ctx.body = 'ok';
  else await next();
});
const store = redisStore({ port: redis, host: '127.0.0.1' });
const shared = one && oneSession({ secrets: keys });
if (moveIn) app.use(shared.moveIn({ client: store.client }));
app.use(session({ store, ...shared?.koa, ...(gensid && { genSid: () => gensid }), ...options }));
app.use(async (ctx) => {
  if (ctx.query.regenerate) await ctx.regenerateSession();
  if (ctx.query.hold) await hold(ctx.query.hold);
  if (ctx.query.destroy) ctx.session = null;
  else change(ctx.session, ctx.query);
  ctx.body = { id: ctx.sessionId, session: ctx.session };
});
app.on('error', (error) => console.error(error));
app.listen(port, '127.0.0.1');
