//! The inspector over a shop with visitors that come, buy, get into each other's way, and leave.
//!
//!     cargo run --features inspector,testing --example inspector     # http://127.0.0.1:3000/sessions
//!
//! The hour before the start is played in fast motion, so that the plots have something to show; then it goes on as
//! time does. Visitors of your own are welcome at http://127.0.0.1:3000.

use std::{error::Error as StdError, net::Ipv4Addr, time::Duration};

use axum::{Router, response::Redirect, routing::get};
use axum_generic_session::{
    Clock, CookieOptions, Error, Inspector, MemoryStore, Operation, Rolling, Session, SessionLayer,
    SystemClock, Timestamp,
    store::{Applied, StoreErrorKind},
    testing::{Answer, Client, Fault, ManualClock, ProbeStore},
};
use rand::Rng;
use serde::{Deserialize, Serialize};

#[derive(Default, Serialize, Deserialize)]
struct Shop {
    cart: Vec<String>,
    theme: Option<String>,
    customer: Option<String>,
}

async fn home(shop: Session<Shop>) -> Result<String, Error> {
    let shop = shop.get().await?;
    Ok(format!("{} in the cart\n\n/add /theme /login /logout /sessions\n", shop.cart.len()))
}

async fn add(shop: Session<Shop>) -> Result<Redirect, Error> {
    shop.update(|s| s.cart.push("A pound of the second best tea that there is".into())).await?;
    Ok(Redirect::to("/"))
}

async fn theme(shop: Session<Shop>) -> Result<Redirect, Error> {
    shop.update(|s| s.theme = Some("dark".into())).await?;
    Ok(Redirect::to("/"))
}

async fn login(shop: Session<Shop>) -> Result<Redirect, Error> {
    shop.renew().await?;
    shop.update(|s| s.customer = Some("ada@example.com".into())).await?;
    Ok(Redirect::to("/"))
}

async fn logout(shop: Session<Shop>) -> Result<Redirect, Error> {
    shop.destroy()?;
    Ok(Redirect::to("/"))
}

/// Everybody who visits, and what can be done to them.
struct Town {
    shop: Router,
    store: ProbeStore<MemoryStore>,
    clock: ManualClock,
    visitors: Vec<Client>,
}

impl Town {
    /// One visitor does something.
    async fn act(&mut self) {
        let (choice, whose) = {
            let mut dice = rand::thread_rng();
            (dice.gen_range(0..100), dice.gen_range(0..self.visitors.len().max(1)))
        };
        if self.visitors.is_empty() || (choice < 12 && self.visitors.len() < 90) {
            self.visitors.push(Client::new(self.shop.clone()).clock(self.clock.clone()));
        }
        let whose = if choice < 12 { self.visitors.len() - 1 } else { whose };
        let _ = match choice {
            0..25 => self.visitors[whose].get("/add").await,
            25..32 => self.visitors[whose].get("/login").await,
            32..35 => self.overlap(whose, "/theme").await,
            35 => self.overlap(whose, "/logout").await,
            36 if self.visitors[whose].cookie("axum.sid").is_some() => self.outage(whose).await,
            36..41 => self.visitors.swap_remove(whose).get("/logout").await,
            _ => self.visitors[whose].get("/").await,
        };
    }

    /// Two requests of one visitor at a time: both have read the session before either writes.
    async fn overlap(&mut self, whose: usize, second: &str) -> Answer {
        let visitor = &mut self.visitors[whose];
        let _ = visitor.get("/add").await;
        let gate = self.store.hold_answer(Operation::Get);
        let mut tab = visitor.clone();
        let first = tokio::spawn(async move { tab.get("/add").await });
        gate.reached().await;
        let answer = visitor.get(second).await;
        gate.open();
        let _ = first.await;
        answer
    }

    async fn outage(&mut self, whose: usize) -> Answer {
        let away = StoreErrorKind::Unavailable(Applied::No);
        self.store.fail(Operation::Get, Fault::before(away).times(1));
        let answer = self.visitors[whose].get("/").await;
        self.store.heal();
        answer
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn StdError>> {
    let port = std::env::args().nth(1).map_or(Ok(3000), |text| text.parse())?;
    let clock = ManualClock::new();
    let hour = Duration::from_secs(3600);
    clock.set(Timestamp::from_millis(SystemClock.now().as_millis() - u64::try_from(hour.as_millis())?));
    let store = ProbeStore::new(MemoryStore::new().clock(clock.clone()));
    let sessions = SessionLayer::new(store.clone())
        .clock(clock.clone())
        .cookie(CookieOptions::new().secure(false))
        .rolling(Rolling::After(0.1))
        .ttl(hour);
    let inspector = Inspector::new(&sessions)?.show_values(std::env::args().any(|arg| arg == "--values"));
    let shop = Router::new()
        .route("/", get(home))
        .route("/add", get(add))
        .route("/theme", get(theme))
        .route("/login", get(login))
        .route("/logout", get(logout))
        .layer(sessions);

    let mut town = Town { shop: shop.clone(), store, clock: clock.clone(), visitors: Vec::new() };
    for step in 0..360 {
        let busy = 4.0 + 3.0 * (f64::from(step) / 30.0).sin();
        for _ in 0..busy as u32 {
            town.act().await;
        }
        clock.advance(Duration::from_secs(10));
    }
    tokio::spawn(async move {
        loop {
            town.act().await;
            tokio::time::sleep(Duration::from_secs(2)).await;
            clock.set(SystemClock.now());
        }
    });

    let app = shop.nest("/sessions", inspector.router());
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    println!("http://{}/sessions", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}
