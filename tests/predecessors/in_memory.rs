//! What only a store without a server can be made to do at the right moment.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, routing::get};
use axum_generic_session::{
    Clock, Error, Map, MemoryStore, Operation, Session, SessionId, SessionLayer, Timestamp,
    store::{Applied, Legacy, Predecessor, StoreError, StoreErrorKind},
    testing::{Client, Fault, ManualClock, ProbeStore},
};

/// When each session of ada's ends. What is to be removed may refuse to go.
#[derive(Clone, Default)]
struct Before(Arc<Mutex<(HashMap<String, Timestamp>, bool)>>);

impl Predecessor for Before {
    async fn find(&self, id: &SessionId) -> Result<Option<Legacy>, StoreError> {
        let end = self.0.lock().expect("a lock").0.get(id.expose()).copied();
        let data = Map::from_iter([("user".to_owned(), "ada".into())]);
        end.map(|end| Legacy::new(&data, end)).transpose()
    }

    async fn remove(&self, id: &SessionId) -> Result<(), StoreError> {
        let (sessions, stays) = &mut *self.0.lock().expect("a lock");
        if *stays {
            return Err(StoreError::unavailable("unplugged"));
        }
        sessions.remove(id.expose());
        Ok(())
    }
}

/// A visitor with a session that ends at this time, and where it is looked for.
fn visitor(left: Duration) -> (Client, Before, ProbeStore<MemoryStore>) {
    let (clock, before) = (ManualClock::new(), Before::default());
    let ours = ProbeStore::new(MemoryStore::new().clock(clock.clone()));
    let layer = SessionLayer::new(ours.clone()).clock(clock.clone()).name("id").take_over(before.clone());
    let home =
        |s: Session| async move { Ok::<_, Error>(s.value::<String>("user").await?.unwrap_or_default()) };
    let mut visitor = Client::new(Router::new().route("/", get(home)).layer(layer)).clock(clock.clone());
    visitor.set_cookie("id", "abc");
    before.0.lock().expect("a lock").0.insert("abc".into(), clock.now().saturating_add(left));
    (visitor, before, ours)
}

#[tokio::test]
async fn what_has_ended_is_not_taken_over() {
    for (left, user) in [(Duration::from_millis(1), "ada"), (Duration::ZERO, "")] {
        let (mut visitor, _, ours) = visitor(left);
        assert_eq!(visitor.get("/").await.expect_status(200).text(), user, "{left:?}");
        assert_eq!(ours.inner().len(), usize::from(!user.is_empty()));
    }
}

#[tokio::test]
async fn a_copy_that_cannot_be_taken_back_is_an_error_and_still_one_session() {
    let (mut visitor, before, ours) = visitor(Duration::from_secs(60));
    before.0.lock().expect("a lock").1 = true;
    ours.fail(Operation::Destroy, Fault::before(StoreErrorKind::Unavailable(Applied::No)));
    assert_eq!(visitor.get("/").await.expect_status(503).set_cookies(), [""; 0]);
    assert_eq!(ours.inner().len(), 1, "the copy");
    ours.heal();
    assert_eq!(visitor.get("/").await.expect_status(200).text(), "ada");
}
