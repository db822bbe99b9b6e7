'use strict';

// The part of the site that is still express: the cart.

const express = require('express');
const session = require('express-session');
const { RedisStore } = require('connect-redis');
const { createClient } = require('redis');

const { PORT, REDIS_PORT, SECRETS } = process.env;

const page = (body) => `<!doctype html><html lang="en"><meta charset="utf-8"><title>Cart</title>${body}`;

async function main() {
  const client = createClient({ url: `redis://127.0.0.1:${REDIS_PORT}` });
  client.on('error', (error) => console.error(error));
  await client.connect();

  const app = express();
  app.use(express.urlencoded());
  app.use(session({
    store: new RedisStore({ client }),
    secret: SECRETS.split(','),
    resave: false,
    saveUninitialized: false,
    cookie: { sameSite: 'lax' },
  }));
  app.get('/cart', (req, res) => {
    const things = (req.session.cart ?? []).length;
    res.send(page(
      `<h1>Cart of ${req.session.user ? 'a member' : 'a guest'}: ${things}</h1>`
      + '<form method="post" action="/cart"><input name="thing" required> <button>Add</button></form><a href="/">Home</a>',
    ));
  });
  app.post('/cart', (req, res) => {
    req.session.cart = [...(req.session.cart ?? []), req.body.thing];
    res.redirect('/cart');
  });
  app.listen(PORT, '127.0.0.1');
}

main();
