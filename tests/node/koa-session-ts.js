'use strict';

// koa with koa-session-ts and a store on Redis as its documentation wants it: JSON under the store's own prefix.
//
//   node koa-session-ts.js '{"port": 3001, "redis": 6379, "keys": ["secret"]}'

const Koa = require('koa');
const Redis = require('ioredis');
const { default: session } = require('koa-session-ts');
const { BaseStore } = require('koa-session-ts/dist/src/stores');
const { change, control } = require('./gates');

const { port, redis, keys } = JSON.parse(process.argv[2]);

class RedisStore extends BaseStore {
  constructor() {
    super();
    this.client = new Redis(redis, '127.0.0.1');
  }

  async get(sid) {
    return JSON.parse(await this.client.get(this.prefix + sid));
  }

  async set(sid, value) {
    const ttl = await super.set(sid, value);
    await this.client.set(this.prefix + sid, JSON.stringify(value), 'PX', ttl);
  }

  async destroy(sid) {
    await this.client.del(this.prefix + sid);
  }
}

const app = new Koa();
app.keys = keys;
app.use(async (ctx, next) => {
  if (await control(ctx.url)) ctx.body = 'ok';
  else await next();
});
app.use(session({ store: new RedisStore() }));
app.use(async (ctx) => {
  if (ctx.query.destroy) ctx.session = null;
  else change(ctx.session, ctx.query);
  ctx.body = { id: ctx.sessionId, session: ctx.session };
});
app.listen(port, '127.0.0.1');
