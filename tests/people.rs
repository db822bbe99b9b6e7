//! The sessions of a person over HTTP: a list of devices, signing them out, and how many there may be.
#![cfg(all(feature = "memory-store", feature = "testing"))]

mod site;

use std::{collections::BTreeSet, time::Duration};

use axum::{Extension, Json, Router, extract::Path, routing::get};
use axum_generic_session::{
    Clock, Error, Listing, Main, Map, MemoryStore, Operation, Rolling, Saved, Session, SessionId,
    SessionLayer, Sessions, Store, StoreKey, Timestamp,
    store::{Record, StoreErrorKind, Tag, When},
    testing::{Answer, Client, Fault, ManualClock, ProbeStore},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use site::{COOKIE, PATIENCE, Probe, in_another_tab};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

#[derive(Default, Serialize, Deserialize)]
struct User {
    device: String,
}

type Layer = SessionLayer<Main, Listing>;
type People = Extension<Sessions<Main, Listing>>;

async fn login(
    session: Session<User>,
    Path((principal, device)): Path<(String, String)>,
) -> Result<(), Error> {
    session.renew().await?;
    session.set_principal(principal).await?;
    session.update(|user| user.device = device).await
}

async fn devices(session: Session<User>, Extension(people): People) -> Result<Json<Value>, Error> {
    let (principal, this) = (session.principal().await?, session.handle().await?);
    let mut devices = Vec::new();
    for device in people.of(principal.unwrap_or_default()).list::<User>().await? {
        let this = Some(&device.handle) == this.as_ref();
        devices.push(json!({ "device": device.value?.device, "handle": device.handle, "this": this }));
    }
    Ok(Json(devices.into()))
}

async fn end(
    session: Session,
    Extension(people): People,
    Path(handle): Path<String>,
) -> Result<String, Error> {
    let principal = session.principal().await?.unwrap_or_default();
    Ok(people.of(principal).end(&handle).await?.to_string())
}

async fn end_others(session: Session, Extension(people): People) -> Result<String, Error> {
    let principal = session.principal().await?.unwrap_or_default();
    Ok(people.of(principal).end_others(&session).await?.to_string())
}

async fn end_all(session: Session, Extension(people): People) -> Result<String, Error> {
    let principal = session.principal().await?.unwrap_or_default();
    session.destroy()?;
    Ok(people.of(principal).end_all().await?.to_string())
}

async fn become_of(session: Session, Path(principal): Path<String>) -> Result<(), Error> {
    session.set_principal(principal).await
}

async fn rename(session: Session<User>, Path(device): Path<String>) -> Result<(), Error> {
    session.update(|user| user.device = device).await
}

/// A site of two nodes whose store finds sessions by their principal.
struct Town {
    store: Probe,
    clock: ManualClock,
    people: Sessions<Main, Listing>,
    nodes: [Router; 2],
}

impl Town {
    fn new() -> Self {
        Self::with(|layer| layer)
    }

    fn with(settings: impl Fn(Layer) -> Layer) -> Self {
        let clock = ManualClock::new();
        let store = ProbeStore::new(MemoryStore::new().clock(clock.clone()));
        let layers = [(), ()].map(|()| {
            settings(
                SessionLayer::by_principal(store.clone()).clock(clock.clone()).operation_timeout(PATIENCE),
            )
        });
        let people = layers[0].sessions().unwrap();
        let nodes = layers.map(|layer| {
            Router::new()
                .route("/login/{principal}/{device}", get(login))
                .route("/devices", get(devices))
                .route("/end/{handle}", get(end))
                .route("/end-others", get(end_others))
                .route("/end-all", get(end_all))
                .route("/rename/{device}", get(rename))
                .route("/as/{principal}", get(become_of))
                .route("/renew", get(|session: Session| async move { session.renew().await }))
                .route("/logout", get(|session: Session| async move { session.destroy() }))
                .layer(layer)
                .layer(Extension(people.clone()))
        });
        Self { store, clock, people, nodes }
    }

    fn visitor(&self, node: usize) -> Client {
        Client::new(self.nodes[node].clone()).clock(self.clock.clone())
    }

    /// Somebody who has just logged in.
    async fn logged_in(&self, principal: &str, device: &str) -> Client {
        let mut visitor = self.visitor(0);
        let _ = visitor.get(&format!("/login/{principal}/{device}")).await.expect_status(200);
        visitor
    }

    async fn devices(&self, principal: &str) -> Vec<String> {
        let listed = self.people.of(principal).list::<User>().await.unwrap();
        listed.into_iter().map(|listed| listed.value.unwrap().device.clone()).collect()
    }

    /// Whether this visitor is still somebody.
    async fn is_known(&self, visitor: &Client) -> bool {
        !visitor.clone().get("/devices").await.expect_status(200).json().as_array().unwrap().is_empty()
    }
}

fn id(visitor: &Client) -> SessionId {
    SessionId::parse(visitor.cookie(COOKIE).unwrap()).unwrap()
}

fn key(visitor: &Client) -> StoreKey {
    StoreKey::hashed("axum:sess:", &id(visitor))
}

fn assert_refused(answer: &Answer) {
    assert_eq!(answer.status, 409, "{}", answer.text());
    assert!(answer.set_cookies().is_empty(), "a cookie would revive it, or remove that of a newer login");
}

#[tokio::test]
async fn a_person_sees_their_devices_and_signs_one_out() {
    let town = Town::new();
    let mut phone = town.logged_in("42", "phone").await;
    town.clock.advance(MINUTE);
    let mut laptop = town.logged_in("42", "laptop").await;
    let bob = town.logged_in("7", "tablet").await;

    let list = laptop.get("/devices").await.expect_status(200).json();
    let names: Vec<_> = list.as_array().unwrap().iter().map(|d| (&d["device"], &d["this"])).collect();
    assert_eq!(
        names,
        [(&json!("laptop"), &json!(true)), (&json!("phone"), &json!(false))],
        "the newest first"
    );

    let handle = list[1]["handle"].as_str().unwrap();
    assert!(handle.len() == 8 && !key(&phone).as_str().contains(handle), "no part of what opens anything");
    let mut thief = town.visitor(0);
    thief.set_cookie(COOKIE, handle);
    assert!(!town.is_known(&thief).await);
    // Nobody signs out other people's devices.
    let mut stranger = bob.clone();
    assert_eq!(stranger.get(&format!("/end/{handle}")).await.expect_status(200).text(), "false");
    assert!(town.is_known(&phone).await);

    assert_eq!(laptop.get(&format!("/end/{handle}")).await.expect_status(200).text(), "true");
    assert_eq!(laptop.get(&format!("/end/{handle}")).await.expect_status(200).text(), "false");
    assert_eq!(phone.get("/devices").await.expect_status(200).json(), json!([]));
    assert_eq!(town.devices("42").await, ["laptop"]);
    assert!(town.is_known(&bob).await);
}

#[tokio::test]
async fn all_others_end_or_all() {
    let town = Town::new();
    let [mut one, two, three] = [
        town.logged_in("42", "one").await,
        town.logged_in("42", "two").await,
        town.logged_in("42", "three").await,
    ];
    let bob = town.logged_in("7", "tablet").await;
    assert_eq!(one.get("/end-others").await.expect_status(200).text(), "2");
    assert!(town.is_known(&one).await && !town.is_known(&two).await && !town.is_known(&three).await);
    let _again = town.logged_in("42", "again").await;
    assert_eq!(one.get("/end-all").await.expect_status(200).text(), "2");
    assert_eq!(one.cookie(COOKIE), None, "the logout clears the cookie");
    assert_eq!(town.devices("42").await.len(), 0);
    assert!(town.is_known(&bob).await);
    // Jobs do it too.
    assert_eq!(town.people.of("7").end_all().await.unwrap(), 1);
    assert!(!town.is_known(&bob).await);
}

#[tokio::test]
async fn the_list_follows_login_renewal_change_of_user_and_logout() {
    let town = Town::new();
    let mut visitor = town.logged_in("42", "phone").await;
    let before = town.people.of("42").list::<User>().await.unwrap().remove(0).handle;
    let _ = visitor.get("/renew").await.expect_status(200);
    let after = town.people.of("42").list::<User>().await.unwrap().remove(0).handle;
    assert_ne!(before, after, "a new id, a new handle");
    assert_eq!(key(&visitor).handle(), after);
    assert!(!town.people.of("42").end(&before).await.unwrap());

    let _ = visitor.get("/login/7/phone").await.expect_status(200);
    assert_eq!((town.devices("42").await.len(), town.devices("7").await.len()), (0, 1));
    let _ = visitor.get("/logout").await.expect_status(200);
    assert_eq!(town.devices("7").await.len(), 0);
}

#[tokio::test]
async fn a_principal_alone_is_a_change_and_the_same_again_is_none() {
    let town = Town::new();
    let mut phone = town.visitor(0);
    let _ = phone.get("/rename/phone").await.expect_status(200);
    for (principal, sets) in [("42", 1), ("42", 0), ("43", 1)] {
        let _ = town.store.take_calls();
        let _ = phone.get(&format!("/as/{principal}")).await.expect_status(200);
        assert_eq!(town.store.take_calls().set, sets, "{principal}");
        assert_eq!(town.devices(principal).await, ["phone"]);
    }
    assert!(town.devices("42").await.is_empty());
}

#[tokio::test]
async fn a_request_under_way_does_not_bring_an_ended_session_back() {
    for (operation, late) in [(Operation::Set, "/rename/x"), (Operation::Rotate, "/renew")] {
        let town = Town::new();
        let mut phone = town.logged_in("42", "phone").await;
        let before = id(&phone);
        let gate = town.store.hold(operation);
        let late = in_another_tab(&phone, late);
        gate.reached().await;
        assert_eq!(town.people.of("42").end_all().await.unwrap(), 1);
        gate.open();
        assert_refused(&late.await.unwrap());
        assert!(town.store.inner().is_empty());
        assert_eq!(phone.get("/devices").await.expect_status(200).json(), json!([]));
        assert_eq!(id(&phone), before, "an unknown id is left alone");
    }
}

#[tokio::test]
async fn a_renewal_that_was_faster_does_not_escape() {
    let town = Town::new();
    let phone = town.logged_in("42", "phone").await;
    // The new id is in the store, and the browser does not know it yet.
    let gate = town.store.hold_answer(Operation::Rotate);
    let late = in_another_tab(&phone, "/renew");
    gate.reached().await;
    assert_eq!(town.people.of("42").end_all().await.unwrap(), 1);
    gate.open();
    let answer = late.await.unwrap().expect_status(200);
    assert!(town.store.inner().is_empty(), "dead under the old id and under the new one");
    let mut phone = town.visitor(0);
    let new = answer.set_cookies()[0].split(['=', ';']).nth(1).unwrap().to_owned();
    phone.set_cookie(COOKIE, &new);
    assert!(!town.is_known(&phone).await);
}

#[tokio::test]
async fn what_has_expired_is_not_listed_and_cannot_be_ended() {
    let town = Town::with(|layer| layer.ttl(HOUR).max_lifetime(3 * HOUR));
    let mut phone = town.logged_in("42", "phone").await;
    let handle = key(&phone).handle();
    town.clock.advance(HOUR);
    assert_eq!(town.devices("42").await.len(), 0);
    assert!(!town.people.of("42").end(&handle).await.unwrap());
    assert_eq!(town.people.of("42").end_all().await.unwrap(), 0);
    assert_eq!(phone.get("/devices").await.expect_status(200).json(), json!([]));
}

#[tokio::test]
async fn what_a_deploy_has_given_a_lower_limit_is_not_listed_either() {
    let town = Town::with(|layer| layer.ttl(9 * HOUR));
    let _phone = town.logged_in("42", "phone").await;
    town.clock.advance(2 * HOUR);
    let laptop = town.logged_in("42", "laptop").await;
    let layer: Layer = SessionLayer::by_principal(town.store.clone()).clock(town.clock.clone());
    let people = layer.max_lifetime(2 * HOUR).sessions().unwrap();
    let listed: Vec<_> = people.of("42").list::<User>().await.unwrap();
    assert_eq!(listed.iter().map(|l| &*l.handle).collect::<Vec<_>>(), [key(&laptop).handle()]);
    assert_eq!(town.devices("42").await.len(), 2);
}

#[tokio::test]
async fn nothing_of_a_person_is_printed() {
    let town = Town::new();
    let phone = town.logged_in("principal-42", "phone-of-ada").await;
    let people = town.people.of("principal-42").clone();
    let listed = people.list::<User>().await.unwrap();
    let text = format!("{people:?} {listed:?} {:?}", town.people);
    for secret in ["principal-42", "phone-of-ada", phone.cookie(COOKIE).unwrap()] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    assert!(text.contains("SessionsOf") && text.contains(&key(&phone).handle()), "{text}");
}

#[tokio::test]
async fn the_list_says_when_a_device_was_last_seen() {
    let town = Town::with(|layer| layer.ttl(HOUR).rolling(Rolling::EveryRequest));
    let start = town.clock.now().as_millis();
    let mut phone = town.visitor(0);
    let _ = phone.get("/rename/guest").await.expect_status(200);
    town.clock.advance(MINUTE);
    let _ = phone.get("/login/42/phone").await.expect_status(200);
    town.clock.advance(10 * MINUTE);
    let _ = phone.get("/devices").await.expect_status(200);
    town.clock.advance(5 * MINUTE);
    let listed = town.people.of("42").list::<User>().await.unwrap().remove(0);
    let minutes = |at: Timestamp| (at.as_millis() - start) / 60_000;
    let times = [listed.created, listed.since, listed.last_seen, listed.expires_at].map(minutes);
    assert_eq!(times, [0, 1, 11, 71], "began, logged in, was last seen, will end");
}

#[tokio::test]
async fn a_record_that_nobody_can_read_hides_no_other_and_ends_with_all() {
    let town = Town::new();
    let [phone, laptop] = [town.logged_in("42", "phone").await, town.logged_in("42", "laptop").await];
    let record = town.store.inner().get(&key(&phone)).await.unwrap().unwrap();
    let broken = Record { tag: Tag::random(), data: "no envelope".into(), ..record };
    town.store.inner().set(&key(&phone), &broken, When::Present).await.unwrap();
    assert_eq!(town.devices("42").await, ["laptop"]);
    assert!(town.is_known(&laptop).await);
    assert_eq!(town.people.of("42").end_all().await.unwrap(), 2);
    assert!(town.store.inner().is_empty());
}

#[tokio::test]
async fn a_value_of_another_type_is_an_error_of_that_session_only() {
    #[derive(Default, Debug, Serialize, Deserialize)]
    struct Other {
        device: u64,
    }
    let town = Town::new();
    let _phone = town.logged_in("42", "phone").await;
    let listed = town.people.of("42").list::<Other>().await.unwrap();
    assert!(listed[0].value.is_err());
    assert_eq!(listed[0].value.clone().unwrap_or_default().device, 0);
}

#[tokio::test]
async fn layers_with_prefixes_of_their_own_have_people_of_their_own() {
    enum Admin {}
    let store = MemoryStore::new();
    let site = SessionLayer::by_principal(store.clone());
    let admin = SessionLayer::by_principal(store).prefix("admin:").name("admin.sid").kind::<Admin>();
    let (people, admins) = (site.sessions().unwrap(), admin.sessions().unwrap());
    let login = |session: Session, boss: Session<Map, Admin>| async move {
        session.set_principal("42").await?;
        boss.set_principal("42").await
    };
    let app = Router::new().route("/", get(login)).layer(site).layer(admin);
    let _ = Client::new(app).get("/").await.expect_status(200);
    assert_eq!(people.of("42").end_all().await.unwrap(), 1);
    assert_eq!(admins.of("42").list::<User>().await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_outage_is_told() {
    let town = Town::new();
    let _phone = town.logged_in("42", "phone").await;
    town.store.fail(Operation::Get, Fault::before(StoreErrorKind::ReadOnly));
    assert_eq!(town.people.of("42").list::<User>().await.unwrap_err().status(), 503);
    assert!(town.people.of("42").end("whatever").await.is_err());
    town.store.heal();
    town.store.fail(Operation::Destroy, Fault::before(StoreErrorKind::ReadOnly));
    assert_eq!(town.people.of("42").end_all().await.unwrap_err().status(), 503);
    town.store.heal();
    assert_eq!(town.devices("42").await, ["phone"], "what has not ended is told to live");
}

#[tokio::test]
async fn only_the_newest_logins_stay() {
    let town = Town::with(|layer| layer.keep_newest(2));
    let one = town.logged_in("42", "one").await;
    let mut two = town.logged_in("42", "two").await;
    let bob = town.logged_in("7", "tablet").await;
    // All at one moment of the clock: a login is newer than those before it all the same.
    let three = town.logged_in("42", "three").await;
    assert_eq!(town.devices("42").await, ["three", "two"]);
    assert!(!town.is_known(&one).await && town.is_known(&two).await && town.is_known(&three).await);
    assert!(town.is_known(&bob).await);
    // Nothing but a login makes a session new.
    let _ = two.get("/rename/still-two").await.expect_status(200);
    let _ = two.get("/renew").await.expect_status(200);
    let _four = town.logged_in("42", "four").await;
    assert_eq!(town.devices("42").await, ["four", "three"]);
}

#[tokio::test]
async fn a_login_counts_from_its_own_moment_not_from_the_guests() {
    let town = Town::with(|layer| layer.keep_newest(1));
    let mut guest = town.visitor(0);
    let _ = guest.get("/rename/guest").await.expect_status(200);
    town.clock.advance(HOUR);
    let phone = town.logged_in("42", "phone").await;
    town.clock.advance(HOUR);
    let _ = guest.get("/login/42/laptop").await.expect_status(200);
    assert_eq!(town.devices("42").await, ["laptop"]);
    assert!(town.is_known(&guest).await && !town.is_known(&phone).await);
}

#[tokio::test]
async fn logins_at_one_time_neither_end_each_other_nor_exceed_the_number() {
    for round in 0..20 {
        let town = Town::with(|layer| layer.keep_newest(1));
        let _before = town.logged_in("42", "before").await;
        // Both are in the store before either looks who is one too many.
        let gates = [town.store.hold_answer(Operation::Set), town.store.hold_answer(Operation::Set)];
        let logins = ["one", "two"].map(|device| (town.visitor(usize::from(device == "two")), device));
        let logins = logins.map(|(visitor, device)| in_another_tab(&visitor, &format!("/login/42/{device}")));
        for gate in &gates {
            gate.reached().await;
        }
        let [mut first, mut second] = gates;
        if round % 2 == 1 {
            std::mem::swap(&mut first, &mut second);
        }
        first.open();
        second.open();
        for login in logins {
            let _ = login.await.unwrap().expect_status(200);
        }
        let left = town.devices("42").await;
        assert!(left == ["one"] || left == ["two"], "one login, and none of before: {left:?}");
    }
}

#[tokio::test]
async fn a_login_does_not_fail_because_others_could_not_be_ended() {
    let town = Town::with(|layer| layer.keep_newest(1));
    let _one = town.logged_in("42", "one").await;
    town.store.fail(Operation::Destroy, Fault::before(StoreErrorKind::Denied));
    let two = town.logged_in("42", "two").await;
    assert!(town.is_known(&two).await);
    town.store.heal();
    assert_eq!(town.devices("42").await, ["two", "one"]);
    let _three = town.logged_in("42", "three").await;
    assert_eq!(town.devices("42").await, ["three"], "the next login makes up for it");
}

#[tokio::test]
async fn sessions_without_a_principal_cost_what_they_did() {
    let town = Town::with(|layer| layer.keep_newest(1));
    let mut guest = town.visitor(0);
    let _ = guest.get("/rename/guest").await.expect_status(200);
    let calls = town.store.take_calls();
    assert_eq!((calls.set, calls.total()), (1, 1));
    let _ = guest.get("/rename/changed").await.expect_status(200);
    let calls = town.store.take_calls();
    assert_eq!((calls.get, calls.set, calls.total()), (1, 1, 2));
    // A login asks who else is there, before and after; what follows it does not.
    let _ = guest.get("/login/42/phone").await.expect_status(200);
    let calls = town.store.take_calls();
    assert_eq!((calls.get, calls.rotate, calls.total()), (3, 1, 4));
    let _ = guest.get("/rename/again").await.expect_status(200);
    let calls = town.store.take_calls();
    assert_eq!((calls.get, calls.set, calls.total()), (1, 1, 2));
}

#[test]
fn a_number_that_cannot_work_is_refused() {
    let why = SessionLayer::by_principal(MemoryStore::new()).keep_newest(0).check().unwrap_err();
    assert!(why.to_string().contains("keep_newest(0)"), "{why}");
}

#[tokio::test]
async fn handles_are_not_shared() {
    let town = Town::new();
    for n in 0..200 {
        let _ = town.logged_in("42", &n.to_string()).await;
    }
    let listed = town.people.of("42").list::<User>().await.unwrap();
    let handles: BTreeSet<_> = listed.iter().map(|listed| &listed.handle).collect();
    assert_eq!(handles.len(), 200);
}

#[tokio::test]
async fn a_session_outside_of_a_request_knows_its_handle() {
    let town = Town::new();
    let phone = town.logged_in("42", "phone").await;
    let session = town.people.load::<User>(&id(&phone)).await.unwrap().unwrap();
    assert_eq!(session.handle().await.unwrap(), Some(key(&phone).handle()));
    assert_eq!(town.people.of("42").end_others(&session).await.unwrap(), 0);
    assert_eq!(session.save().await.unwrap(), Saved::Unchanged);
}
