//! The same steps for a real site.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Json, Router,
    body::Body,
    http::{Request, StatusCode},
    response::{AppendHeaders, IntoResponse, Response},
    routing::get,
};
use axum_generic_session::{
    Error, Listing, Main, Map, Rolling, Session, SessionId, SessionLayer, Sessions, StoreKey,
    store::ByPrincipal,
    testing::{Answer, Client, ManualClock},
};
use serde_json::{Value, json};
use tokio::{runtime::Runtime, sync::Notify, task::JoinHandle};

use crate::reference::{BROWSERS, Cookie, Data, Do, KEPT, LIFE, Model, PEOPLE, SLOTS, Step};

const COOKIE: &str = "axum.sid";
/// How many sessions a handler says that it has ended.
const ENDED: &str = "x-ended";

/// A request that waits in its handler.
struct Flight {
    browser: usize,
    go: Arc<Notify>,
    running: JoinHandle<(Answer, Client)>,
}

pub struct System {
    /// Dropped before the runtime that they run on.
    flights: [Option<Flight>; SLOTS],
    browsers: [Client; BROWSERS],
    /// The id of each session of the model.
    ids: Vec<String>,
    clock: Option<ManualClock>,
    /// Looks without touching anything.
    looking: Router,
    people: People,
    prefix: String,
}

type People = Sessions<Main, Listing>;

/// What a handler is to do, and where it stops on the way.
#[derive(Clone)]
struct Orders {
    what: Do,
    status: u16,
    stop: Option<(Arc<Notify>, Arc<Notify>)>,
}

impl System {
    /// With a clock, the store must go by the same.
    pub fn new(store: impl ByPrincipal, clock: Option<ManualClock>, model: &Model) -> Self {
        // Its people are nobody's namesakes on an engine that has seen other sequences.
        let prefix = format!("{}:", &SessionId::random().expose()[..12]);
        let mut layer = SessionLayer::by_principal(store)
            .prefix(prefix.clone())
            .ttl(Duration::from_secs(LIFE))
            .operation_timeout(Duration::from_secs(20));
        if let Some(clock) = &clock {
            layer = layer.clock(clock.clone());
        }
        if model.keeps_newest {
            layer = layer.keep_newest(KEPT);
        }
        let people = layer.sessions().expect("sound settings");
        let site = Router::new().route("/", get(page)).layer(Extension(people.clone()));
        let looking = site.clone().layer(layer.clone());
        let visited =
            site.layer(layer.rolling(if model.rolling { Rolling::EveryRequest } else { Rolling::Off }));
        // Its clock stands still: it is the store that decides when a session is over.
        let browser = Client::new(visited);
        Self {
            flights: [const { None }; SLOTS],
            browsers: [const {}; BROWSERS].map(|()| browser.clone()),
            ids: Vec::new(),
            clock,
            looking,
            people,
            prefix,
        }
    }

    /// Does the step, and compares what came of it with the model after it.
    pub fn apply(&mut self, runtime: &Runtime, model: &Model, step: &Step) {
        match *step {
            Step::Request(browser, what, status) => {
                let asked = request(Orders { what, status, stop: None });
                let answer = runtime.block_on(self.browsers[browser].send(asked));
                self.compare(browser, &answer, model);
            }
            Step::Begin(slot, browser, what, status) => {
                let (loaded, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
                let asked = request(Orders { what, status, stop: Some((loaded.clone(), go.clone())) });
                let mut tab = self.browsers[browser].clone();
                let running = runtime.spawn(async move {
                    let answer = tab.send(asked).await;
                    (answer, tab)
                });
                runtime.block_on(loaded.notified());
                self.flights[slot] = Some(Flight { browser, go, running });
            }
            Step::Finish(slot) => {
                let Flight { browser, go, running } =
                    self.flights[slot].take().expect("a request on its way");
                go.notify_one();
                let (answer, tab) = runtime.block_on(running).expect("an answer");
                if !answer.set_cookies().is_empty() {
                    // Tabs of one browser share their cookies.
                    copy(tab.cookie(COOKIE), &mut self.browsers[browser]);
                }
                self.compare(browser, &answer, model);
            }
            Step::Copy(from, to) => {
                let cookie = self.browsers[from].cookie(COOKIE).map(str::to_owned);
                copy(cookie.as_deref(), &mut self.browsers[to]);
            }
            Step::Wait(seconds) => {
                let clock = self.clock.as_ref().expect("a clock that can be moved");
                clock.advance(Duration::from_secs(seconds));
            }
            Step::EndOne(name, session) => {
                let handle = self.handle(session);
                let ended = runtime.block_on(self.people.of(name).end(&handle)).expect("an end");
                assert_eq!(Some(usize::from(ended)), model.ended, "session {session} of {name}");
            }
            Step::EndAll(name) => {
                let ended = runtime.block_on(self.people.of(name).end_all()).expect("an end");
                assert_eq!(Some(ended as usize), model.ended, "the sessions of {name}");
            }
        }
        self.look_at_everything(runtime, model);
    }

    fn compare(&mut self, browser: usize, answer: &Answer, model: &Model) {
        let expected = model.answer.expect("the model has answered");
        assert_eq!(answer.status, expected.status, "the status");
        let ended = answer.headers.get(ENDED).map(|number| number.to_str().expect("a number").to_owned());
        assert_eq!(ended, model.ended.map(|number| number.to_string()), "how many were signed out");
        let lines = answer.set_cookies();
        let now = self.browsers[browser].cookie(COOKIE);
        match expected.cookie {
            Cookie::Nothing => assert_eq!(lines, [""; 0], "no cookie was expected"),
            Cookie::Removal => {
                assert_eq!(lines.len(), 1, "a removal was expected");
                assert_eq!(now, None, "the cookie is removed");
            }
            Cookie::Of(session) => {
                assert_eq!(lines.len(), 1, "a cookie was expected");
                let id = now.expect("the cookie is kept").to_owned();
                if session == self.ids.len() {
                    assert!(!self.ids.contains(&id), "a new session has an id of its own");
                    self.ids.push(id);
                } else {
                    assert!(id == self.ids[session], "the cookie is that of session {session}");
                }
            }
        }
    }

    /// Every session there ever was holds what the model says, or is gone.
    fn look_at_everything(&self, runtime: &Runtime, model: &Model) {
        assert_eq!(self.ids.len(), model.sessions.len(), "as many sessions");
        for (number, id) in self.ids.iter().enumerate() {
            let mut visitor = Client::new(self.looking.clone());
            visitor.set_cookie(COOKIE, id);
            let shown = runtime.block_on(visitor.send(request(READ)));
            let expected =
                if model.is_alive(number) { model.sessions[number].data.clone() } else { Data::new() };
            assert_eq!(shown.json(), json!(expected), "session {number}");
        }
        for name in PEOPLE {
            let mut due: Vec<_> =
                model.of(name).iter().map(|n| (self.handle(*n), json!(model.sessions[*n].data))).collect();
            let listed = runtime.block_on(self.people.of(name).list::<Map>()).expect("a list");
            let mut listed: Vec<_> =
                listed.into_iter().map(|one| (one.handle, json!(one.value.expect("a map")))).collect();
            if !model.keeps_newest {
                // Then logins of one millisecond are in no order.
                due.sort_by(|(a, _), (b, _)| a.cmp(b));
                listed.sort_by(|(a, _), (b, _)| a.cmp(b));
            }
            assert_eq!(listed, due, "the sessions of {name}");
        }
    }

    fn handle(&self, session: usize) -> String {
        let id = SessionId::parse(&self.ids[session]).expect("an id");
        StoreKey::hashed(&self.prefix, &id).handle()
    }
}

const READ: Orders = Orders { what: Do::Read, status: 200, stop: None };

fn copy(cookie: Option<&str>, to: &mut Client) {
    match cookie {
        Some(id) => to.set_cookie(COOKIE, id),
        None => to.clear_cookies(),
    }
}

fn request(orders: Orders) -> Result<Request<Body>, axum::http::Error> {
    Request::get("/").extension(orders).body(Body::empty())
}

async fn page(
    session: Session,
    Extension(people): Extension<People>,
    Extension(orders): Extension<Orders>,
) -> Result<Response, Error> {
    session.get().await?;
    if let Some((loaded, go)) = &orders.stop {
        loaded.notify_one();
        go.notified().await;
    }
    let mut ended = None;
    match orders.what {
        Do::Read => {}
        Do::Set(key, value) => session.insert(key, value).await?,
        Do::Remove(key) => session.remove(key).await?,
        Do::Clear => session.clear().await?,
        Do::Add => session.transact(add_one).await?,
        Do::Renew => session.renew().await?,
        Do::RenewAndSet(key, value) => {
            session.renew().await?;
            session.insert(key, value).await?;
        }
        Do::Regenerate => session.regenerate()?,
        Do::RegenerateAndSet(key, value) => {
            session.regenerate()?;
            session.insert(key, value).await?;
        }
        Do::Logout => session.destroy()?,
        Do::LogoutThenSet(key, value) => {
            session.destroy()?;
            session.insert(key, value).await?;
        }
        Do::SetThenLogout(key, value) => {
            session.insert(key, value).await?;
            session.destroy()?;
        }
        Do::Login(name) => {
            session.renew().await?;
            session.set_principal(name).await?;
        }
        Do::Own(name) => session.set_principal(name).await?,
        Do::EndOthers(name) => ended = Some(people.of(name).end_others(&session).await?),
    }
    let status = StatusCode::from_u16(orders.status).expect("a status");
    let ended = AppendHeaders(ended.map(|number| (ENDED, number.to_string())));
    Ok((status, ended, Json(session.get().await?.as_ref().clone())).into_response())
}

fn add_one(map: &mut Map) {
    let n = map.get("n").and_then(Value::as_u64).unwrap_or(0);
    map.insert("n".into(), (n + 1).into());
}
