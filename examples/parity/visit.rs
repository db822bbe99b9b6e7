//! What the pages are written with: a few verbs over [`Session`], and how a failing page answers.

use std::sync::Arc;

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use axum_generic_session::{
    CookieOptions, Error, Map, MaxAge, Priority, SameSite, Session, Timestamp, store::StoreError,
};
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};

use crate::{page::told, query::Query, scene::Scene};

/// One request that has a session.
pub(crate) struct Visit {
    pub(crate) session: Session,
    pub(crate) query: Query,
    pub(crate) scene: Arc<Scene>,
}

/// What a page answers.
pub(crate) enum Reply {
    Text(String),
    Json(Value),
    Other(Response),
}

/// Why a page does not.
pub(crate) enum Failure {
    Session(Error),
    /// The page's own reason, with a status.
    Own(StatusCode, String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Session(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Own(StatusCode::INTERNAL_SERVER_ERROR, error.cause().to_string())
    }
}

impl Failure {
    /// What was asked for is nothing that a typed session can be.
    pub(crate) fn unfit(why: &str) -> Self {
        Self::Own(StatusCode::BAD_REQUEST, why.to_owned())
    }
}

/// What a failing handler says.
pub(crate) fn oops() -> Failure {
    Failure::Own(StatusCode::INTERNAL_SERVER_ERROR, "oops".to_owned())
}

/// `None`: another page.
pub type Answer = Result<Option<Reply>, Failure>;

pub(crate) fn text(text: impl ToString) -> Reply {
    Reply::Text(text.to_string())
}

impl Visit {
    /// The data, as they are now.
    pub(crate) async fn data(&self) -> Result<Map, Error> {
        Ok((*self.session.get().await?).clone())
    }

    /// One value as JavaScript prints it.
    pub(crate) async fn printed(&self, key: &str) -> Result<String, Error> {
        Ok(printed(self.session.value(key).await?.as_ref()))
    }

    /// The session as the originals show it: the data, and beside them the cookie's settings.
    pub(crate) async fn shown(&self) -> Result<Value, Error> {
        let mut shown = self.data().await?;
        shown.insert("cookie".to_owned(), self.cookie_settings().await?);
        Ok(Value::Object(shown))
    }

    pub(crate) async fn cookie_settings(&self) -> Result<Value, Error> {
        let signed = self.scene.setting.layers[0].signed;
        Ok(settings(&self.session.cookie().await?, signed))
    }

    /// Counts one up.
    pub(crate) async fn bump(&self) -> Result<u64, Error> {
        self.session.update(bump).await
    }

    pub(crate) async fn id(&self) -> Result<String, Error> {
        Ok(self.session.id().await?.expose().to_owned())
    }

    /// Waits where the player holds requests that have not touched their session yet.
    pub(crate) async fn before(&self) {
        if let Some(gate) = self.query.get("hold_before") {
            self.scene.gates.pass(&gate).await;
        }
    }

    /// Waits where the player holds requests that have.
    pub(crate) async fn pause(&self) {
        if let Some(gate) = self.query.get("hold") {
            self.scene.gates.pass(&gate).await;
        }
        if let Some(barrier) = self.query.get("barrier") {
            let n = self.query.number("n").unwrap_or(1);
            let order = self.query.number("order").unwrap_or_default();
            self.scene.gates.meet(&barrier, n, order).await;
        }
    }

    /// What a handler says that has caught the error of a save.
    pub(crate) fn caught(&self, saved: Result<impl Sized, Error>) -> Reply {
        match saved {
            Ok(_) => text("saved"),
            Err(error) => text(format!("caught: {}", told(&error).1)),
        }
    }
}

/// Adds one to the count.
pub(crate) fn bump(data: &mut Map) -> u64 {
    let count = data.get("count").and_then(Value::as_u64).unwrap_or_default() + 1;
    data.insert("count".to_owned(), json!(count));
    count
}

/// `String(value)`.
pub(crate) fn printed(value: Option<&Value>) -> String {
    match value {
        None => "undefined".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    }
}

/// Cookie settings by koa's names.
fn settings(options: &CookieOptions, signed: bool) -> Value {
    let mut shown = json!({
        "httpOnly": options.http_only, "path": options.path, "overwrite": options.overwrite, "signed": signed,
    });
    match options.max_age {
        MaxAge::For(age) => shown["maxAge"] = json!(age.as_millis() as u64),
        MaxAge::BrowserSession | MaxAge::Ttl => shown["maxAge"] = Value::Null,
        MaxAge::Until(end) => {
            shown["maxAge"] = Value::Null;
            shown["expires"] = json!(iso_date(end));
        }
    }
    if let Some(domain) = &options.domain {
        shown["domain"] = json!(domain);
    }
    if let Some(same_site) = options.same_site {
        shown["sameSite"] = match same_site {
            SameSite::Strict => json!(true),
            SameSite::Lax => json!("lax"),
            SameSite::None => json!("none"),
        };
    }
    if let Some(priority) = options.priority {
        shown["priority"] = match priority {
            Priority::Low => json!("low"),
            Priority::Medium => json!("medium"),
            Priority::High => json!("high"),
        };
    }
    for (name, set) in [("secure", options.secure), ("partitioned", options.partitioned)] {
        if set {
            shown[name] = json!(true);
        }
    }
    shown
}

/// `2023-11-14T22:13:20.000Z`, as JavaScript writes a date.
fn iso_date(moment: Timestamp) -> String {
    const FORMAT: &[BorrowedFormatItem<'_>] =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    let nanos = i128::from(moment.as_millis()) * 1_000_000;
    let date = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok();
    date.and_then(|date| date.format(FORMAT).ok()).unwrap_or_default()
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        match self {
            Self::Text(text) => text.into_response(),
            Self::Json(value) => {
                let json = HeaderValue::from_static("application/json");
                ([(CONTENT_TYPE, json)], Body::from(value.to_string())).into_response()
            }
            Self::Other(response) => response,
        }
    }
}
