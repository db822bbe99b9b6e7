//! The adapter for stores of three methods, over a map with times to live.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::body::Bytes;
use axum_generic_session::{
    Clock, SessionId, Store, StoreKey, Timestamp,
    store::{
        Guarantee, Layout, Record, StoreError, StoreErrorKind, Tag, ThreeMethodStore, ThreeMethods, When,
        Written, contract::Contract,
    },
    testing::ManualClock,
};

type Values = HashMap<String, (Bytes, Timestamp)>;

#[derive(Clone)]
struct Engine(Arc<Mutex<Values>>, ManualClock);

impl Engine {
    fn new(clock: &ManualClock) -> Self {
        Self(Arc::default(), clock.clone())
    }

    /// What lies in the engine, as another program would see it.
    fn raw(&self, key: &StoreKey) -> Bytes {
        self.0.lock().unwrap()[key.as_str()].0.clone()
    }
}

impl ThreeMethods for Engine {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        let now = self.1.now();
        Ok(self.0.lock().unwrap().get(key).filter(|(_, end)| *end > now).map(|(data, _)| data.clone()))
    }

    async fn set(&self, key: &str, data: Bytes, ttl: Duration) -> Result<(), StoreError> {
        assert!(!ttl.is_zero(), "a ttl of nothing");
        self.0.lock().unwrap().insert(key.to_owned(), (data, self.1.now().saturating_add(ttl)));
        Ok(())
    }

    async fn destroy(&self, key: &str) -> Result<(), StoreError> {
        self.0.lock().unwrap().remove(key);
        Ok(())
    }
}

fn record(clock: &ManualClock, text: &'static str) -> Record {
    Record {
        tag: Tag::of(text.as_bytes()),
        expires_at: clock.now().saturating_add(Duration::from_secs(60)),
        principal: None,
        data: Bytes::from_static(text.as_bytes()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_contract_but_for_the_races() {
    let clock = ManualClock::new();
    let engine = Engine::new(&clock);
    let open = || async { ThreeMethodStore::new(engine.clone()).clock(clock.clone()) };
    let report = Contract::new(open).clock(clock.clone()).run().await;
    let races =
        ["race: counter", "race: create", "race: destroy", "race: rotate", "race: touch", "race: read"];
    for name in races {
        assert!(report.left_out().contains(&name) && !report.passed().contains(&name), "{report}");
    }
    assert!(
        report
            .to_string()
            .contains("left out  race: counter (Layout::Native): the store says: last write wins")
    );
    assert_eq!(open().await.guarantee(), Guarantee::LastWriteWins);
}

#[tokio::test]
async fn a_plain_value_is_the_data_byte_for_byte() {
    let clock = ManualClock::new();
    let engine = Engine::new(&clock);
    let store = ThreeMethodStore::new(engine.clone()).clock(clock.clone());
    let key = StoreKey::plain("koa:sess:", &SessionId::random()).with_layout(Layout::Plain);
    let record = record(&clock, "{\"count\":1}");
    assert_eq!(store.set(&key, &record, When::Absent).await.unwrap(), Written::Done);
    assert_eq!(engine.raw(&key), record.data);
}

#[tokio::test]
async fn a_native_value_expires_though_the_engine_keeps_it() {
    let clock = ManualClock::new();
    // The engine's own clock stands still, as that of one which forgets to expire.
    let engine = Engine::new(&ManualClock::new());
    let store = ThreeMethodStore::new(engine.clone()).clock(clock.clone());
    let key = StoreKey::hashed("app:", &SessionId::random());
    let record = record(&clock, "{}");
    store.set(&key, &record, When::Absent).await.unwrap();
    clock.set(record.expires_at);
    assert!(store.get(&key).await.unwrap().is_none());
    assert!(!engine.raw(&key).is_empty());
}

#[tokio::test]
async fn another_programs_value_is_corrupt_and_stays() {
    let clock = ManualClock::new();
    let engine = Engine::new(&clock);
    let store = ThreeMethodStore::new(engine.clone()).clock(clock.clone());
    let key = StoreKey::hashed("app:", &SessionId::random());
    engine.set(key.as_str(), Bytes::from_static(b"{\"count\":1}"), Duration::from_secs(60)).await.unwrap();
    let mine = record(&clock, "{}");
    let errors = [
        store.get(&key).await.unwrap_err(),
        store.set(&key, &mine, When::Present).await.unwrap_err(),
        store.touch(&key, Timestamp::MAX).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), StoreErrorKind::Corrupt);
        assert!(!error.to_string().contains("count"), "{error}");
    }
    assert_eq!(&engine.raw(&key)[..], b"{\"count\":1}");
}
