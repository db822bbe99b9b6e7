//! The connection to the store is lost, and comes back or does not.

use std::time::Duration;

use axum_generic_session::{Operation, testing::Fault};
use tokio::time::{Instant, sleep};

use super::{
    AWAY, IN_DOUBT,
    site::{Site, in_another_tab},
    timed,
};

/// As a client does that reconnects by itself: until then each call is refused at once.
#[tokio::test(start_paused = true)]
async fn a_write_that_is_cut_is_tried_again_when_the_connection_is_back() {
    for (path, operation) in
        [("/set/a/1", Operation::Set), ("/login/bob", Operation::Rotate), ("/logout", Operation::Destroy)]
    {
        for (back_after, status, seconds) in [(1, 200, 1), (3, 503, 2)] {
            for lost in [Fault::before(AWAY), Fault::before(IN_DOUBT), Fault::after(IN_DOUBT)] {
                let site = Site::with(|layer| layer.operation_timeout(Duration::from_secs(2)));
                let visitor = site.known("alice").await;
                site.store.fail(operation, lost.times(1));
                let gate = site.store.hold(operation);
                let (start, answer) = (Instant::now(), in_another_tab(&visitor, path));
                gate.reached().await;
                site.store.disconnect();
                gate.open();
                let store = site.store.clone();
                let outage = tokio::spawn(async move {
                    sleep(Duration::from_secs(back_after)).await;
                    store.reconnect();
                });
                assert_eq!(timed(answer, start).await, (status, seconds), "{path} {lost:?}");
                outage.await.unwrap();
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn requests_wait_together_for_a_lost_connection() {
    let site = Site::new();
    let visitor = site.known("alice").await;
    let newcomer = site.visitor();
    let second = Duration::from_secs(1);

    site.store.disconnect();
    let start = Instant::now();
    let mut waiting = Vec::new();
    for somebody in [&visitor, &newcomer, &visitor] {
        waiting.push(in_another_tab(somebody, "/read"));
        sleep(3 * second).await;
    }
    assert_eq!(site.store.calls().total(), 0, "nobody has asked the store");
    site.store.reconnect();
    for answer in waiting {
        assert_eq!(timed(answer, start).await, (200, 9), "all go on when it is back");
    }

    site.store.disconnect();
    let start = Instant::now();
    let early = in_another_tab(&visitor, "/read");
    sleep(7 * second).await;
    let later = in_another_tab(&newcomer, "/set/a/1");
    assert_eq!(timed(early, start).await, (503, 10), "the limit is counted from the loss");
    assert_eq!(timed(later, start).await, (503, 10));
    assert_eq!(timed(in_another_tab(&visitor, "/read"), start).await, (503, 10), "later ones fail at once");
    site.store.reconnect();
    assert_eq!(timed(in_another_tab(&visitor, "/read"), start).await, (200, 10), "and work at once");
}

#[tokio::test(start_paused = true)]
async fn the_time_to_wait_for_a_connection_is_a_setting() {
    for (limit, expected) in [(0, 0), (1, 1), (60, 60)] {
        let site = Site::with(|layer| layer.reconnect_timeout(Duration::from_secs(limit)));
        let visitor = site.known("alice").await;
        site.store.disconnect();
        assert_eq!(timed(in_another_tab(&visitor, "/read"), Instant::now()).await, (503, expected));
    }
    let site = Site::with(|layer| layer.reconnect_timeout(Duration::MAX));
    let visitor = site.known("alice").await;
    site.store.disconnect();
    let patient = in_another_tab(&visitor, "/read");
    sleep(Duration::from_secs(365 * 24 * 60 * 60)).await;
    assert!(!patient.is_finished());
    site.store.reconnect();
    assert_eq!(patient.await.unwrap().status, 200);
    let site = Site::deferred();
    site.store.disconnect();
    assert_eq!(timed(in_another_tab(&site.visitor(), "/untouched"), Instant::now()).await, (200, 0));
}
