'use strict';

// express with express-session and connect-redis; each request says what to do with its session.
//
//   node express.js '{"port": 3002, "redis": 6379, "keys": ["secret"], "options": {}, "store": {}}'

const express = require('express');
const session = require('express-session');
const { RedisStore } = require('connect-redis');
const { createClient } = require('redis');
const { change, control, hold } = require('./gates');

const { port, redis, keys, options, store, genid } = JSON.parse(process.argv[2]);

const call = (start) => new Promise((resolve, reject) => start((error) => (error ? reject(error) : resolve())));

async function main() {
  const client = createClient({ url: `redis://127.0.0.1:${redis}` });
  client.on('error', (error) => console.error(error));
  await client.connect();

  const app = express();
  app.set('query parser', 'simple');
  app.set('etag', false);
  app.use(async (req, res, next) => {
    if (await control(req.url)) res.end('ok');
    else next();
  });
  app.use(session({
    store: new RedisStore({ client, ...store }),
    secret: keys,
    resave: false,
    saveUninitialized: false,
    ...(genid ? { genid: () => genid } : {}),
    ...options,
  }));
  app.use(async (req, res) => {
    if (req.query.regenerate) await call((done) => req.session.regenerate(done));
    if (req.query.hold) await hold(req.query.hold);
    const id = req.sessionID;
    if (req.query.destroy) await call((done) => req.session.destroy(done));
    else change(req.session, req.query);
    res.json({ id, session: req.session });
  });
  app.listen(port, '127.0.0.1');
}

main();
