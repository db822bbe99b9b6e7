//! What MariaDB answers when it cannot do its work, and what the store makes of it.

use axum_generic_session::{
    Store,
    store::{When, Written},
};

use super::{
    kit::{record, stored},
    servers::mariadb::MariaDb,
    sql::{Engine, faults::refuses_writes_and_goes_on_reading},
};

#[tokio::test]
async fn a_read_only_server_refuses_writes_and_goes_on_reading() {
    let server = MariaDb::start(&["innodb_flush_log_at_trx_commit=0"]);
    let (key, first) = stored(&server.store("read_only").await, record("first")).await;
    // An administrator may write even then, so it takes another user.
    let make = "CREATE USER app@localhost; GRANT ALL ON app.* TO app@localhost; SET GLOBAL read_only = 1";
    server.script(make).await;
    let pool = sqlx::MySqlPool::connect(&server.url_of("app")).await.unwrap();
    let store = MariaDb::store_on(pool, "read_only");
    refuses_writes_and_goes_on_reading(&store, &key, &first).await;
    server.script("SET GLOBAL read_only = 0").await;
    let answer = store.set(&key, &record("next"), When::Tagged(first.tag)).await.unwrap();
    assert_eq!(answer, Written::Done);
}
