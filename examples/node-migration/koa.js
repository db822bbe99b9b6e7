'use strict';

// The part of the site that is still koa: who the visitor is.

const Koa = require('koa');
const session = require('koa-generic-session');
const redisStore = require('koa-redis');
const oneSession = require('./one-session');

const { PORT, REDIS_PORT, SECRETS } = process.env;

const page = (body) => `<!doctype html><html lang="en"><meta charset="utf-8"><title>Account</title>${body}`;

async function form(ctx) {
  let text = '';
  for await (const chunk of ctx.req) text += chunk;
  return new URLSearchParams(text);
}

const app = new Koa();
app.keys = SECRETS.split(',');
app.use(session({
  store: redisStore({ port: REDIS_PORT, host: '127.0.0.1' }),
  ...oneSession({ secrets: app.keys, cookie: { sameSite: 'lax' } }).koa,
}));
app.use(async (ctx) => {
  switch (`${ctx.method} ${ctx.path}`) {
    case 'GET /account':
      ctx.body = page(ctx.session.user
        ? '<h1>Your account</h1><form method="post" action="/account/logout"><button>Sign out</button></form>'
        : '<h1>Sign in</h1><form method="post" action="/account/login"><input name="user" required> <button>Sign in</button></form>');
      break;
    case 'POST /account/login': {
      const user = (await form(ctx)).get('user');
      const { cart } = ctx.session;
      // A new id at every login; what the guest had comes along.
      await ctx.regenerateSession();
      Object.assign(ctx.session, { user, cart });
      ctx.redirect('/');
      break;
    }
    case 'POST /account/logout':
      ctx.session = null;
      ctx.redirect('/');
      break;
    default:
      ctx.status = 404;
  }
});
app.listen(PORT, '127.0.0.1');
