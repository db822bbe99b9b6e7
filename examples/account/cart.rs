//! The shop, and a cart that guests have too. It is in the session, so a login, which only changes the id, keeps it.

use std::collections::BTreeMap;

use axum::response::Redirect;
use axum_generic_session::{Error, Session, SessionData};
use maud::{Markup, html};
use serde::{Deserialize, Serialize};

use crate::{
    pages::{Page, Trouble},
    visit::{self, Checked, Member, NoFields},
};

struct Tea {
    id: &'static str,
    name: &'static str,
    kind: &'static str,
    taste: &'static str,
    cents: u32,
}

const TEAS: [Tea; 6] = [
    tea("sencha", "Sencha Asatsuyu", "Green, Kagoshima", "Young peas, sea air, a sweet end.", 1450),
    tea(
        "darjeeling",
        "Darjeeling First Flush",
        "Black, Margaret’s Hope",
        "Muscatel, spring, a dry finish.",
        1680,
    ),
    tea("oolong", "Dong Ding", "Oolong, Nantou", "Roasted chestnut, cream, long.", 1920),
    tea("assam", "Assam Mangalam", "Black, Brahmaputra", "Malt and honey. Stands milk.", 980),
    tea("baimudan", "Bai Mu Dan", "White, Fuding", "Hay, apricot, next to nothing.", 1740),
    tea("rooibos", "Rooibos", "No tea at all, Cederberg", "Vanilla, for the late hours.", 760),
];

const fn tea(
    id: &'static str,
    name: &'static str,
    kind: &'static str,
    taste: &'static str,
    cents: u32,
) -> Tea {
    Tea { id, name, kind, taste, cents }
}

/// As many of one kind as we have ever sold at a time.
const MOST: u32 = 20;

/// The cart as a view of the session.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Cart {
    /// How many tins of which tea.
    cart: BTreeMap<String, u32>,
}

impl Cart {
    fn lines(&self) -> impl Iterator<Item = (&'static Tea, u32)> {
        TEAS.iter().filter_map(|tea| self.cart.get(tea.id).map(|count| (tea, *count)))
    }

    fn count(&self) -> u32 {
        self.lines().map(|(_, count)| count).sum()
    }
}

pub(crate) async fn count<T: SessionData>(session: &Session<T>) -> Result<u32, Error> {
    Ok(session.view::<Cart>().get().await?.count())
}

fn price(cents: u32) -> String {
    format!("€ {}.{:02}", cents / 100, cents % 100)
}

fn tins(count: u32) -> String {
    if count == 1 { "one tin".into() } else { format!("{count} tins") }
}

pub(crate) async fn shop(page: Page) -> Markup {
    page.render("Teas", html! {
        section.hero {
            h1 { "Good tea, in small tins" }
            p { "Six of them, picked by people who drink it all day." }
        }
        ul.teas {
            @for tea in &TEAS {
                li {
                    div.tin.(tea.id) aria-hidden="true" { span { (tea.name) } }
                    h2 { (tea.name) }
                    p.kind { (tea.kind) }
                    p { (tea.taste) }
                    form method="post" action="/cart" {
                        (page.token())
                        input type="hidden" name="tea" value=(tea.id);
                        span.price { (price(tea.cents)) }
                        button name="change" value="add" aria-label={ "Add " (tea.name) " to the cart" } { "Add" }
                    }
                }
            }
        }
    })
}

pub(crate) async fn show(page: Page, session: Session<Cart>) -> Result<Markup, Error> {
    let cart = session.get().await?;
    let total = cart.lines().map(|(tea, count)| tea.cents * count).sum();
    Ok(page.render("Cart", html! {
        h1 { "Your cart" }
        @if cart.count() == 0 {
            p.quiet { "Nothing in it yet." }
            p { a.button href="/" { "To the teas" } }
        } @else {
            ul.rows {
                @for (tea, count) in cart.lines() {
                    li {
                        div.tin.small.(tea.id) aria-hidden="true" {}
                        div.what { b { (tea.name) } span.quiet { (price(tea.cents)) " a tin" } }
                        form.amount method="post" action="/cart" {
                            (page.token())
                            input type="hidden" name="tea" value=(tea.id);
                            button.quiet name="change" value="less" aria-label={ "One " (tea.name) " less" } { "−" }
                            output { (count) }
                            button.quiet name="change" value="more" aria-label={ "One " (tea.name) " more" } { "+" }
                        }
                        span.price { (price(tea.cents * count)) }
                    }
                }
            }
            form.total method="post" action="/checkout" {
                (page.token())
                span { "Together " b { (price(total)) } }
                button { @if page.member.is_some() { "Order" } @else { "Sign in and order" } }
            }
        }
    }))
}

#[derive(Deserialize)]
pub(crate) struct Change {
    tea: String,
    change: String,
}

pub(crate) async fn change(
    session: Session<Cart>,
    Checked(form): Checked<Change>,
) -> Result<Redirect, Trouble> {
    let Some(tea) = TEAS.iter().find(|tea| tea.id == form.tea) else { return Ok(Redirect::to("/cart")) };
    // Not `update`: of two clicks at one time both count.
    session
        .transact(|c| {
            let count = c.cart.get(tea.id).copied().unwrap_or(0);
            match if form.change == "less" { count.saturating_sub(1) } else { (count + 1).min(MOST) } {
                0 => c.cart.remove(tea.id),
                count => c.cart.insert(tea.id.to_owned(), count),
            };
        })
        .await?;
    if form.change != "add" {
        return Ok(Redirect::to("/cart"));
    }
    visit::flash(&session.view(), format!("{} is in your cart.", tea.name)).await?;
    Ok(Redirect::to("/"))
}

/// A guest is asked to sign in first, and finds the cart as it was.
pub(crate) async fn checkout(
    Member(member): Member,
    session: Session<Cart>,
    Checked(NoFields {}): Checked<NoFields>,
) -> Result<Redirect, Trouble> {
    // Taken in the store: a double click orders once.
    let ordered = session.transact(std::mem::take).await?.count();
    let text = match ordered {
        0 => "There was nothing in your cart.".to_owned(),
        _ => format!(
            "Thank you, {}: {} would be on the way now, if this were a shop.",
            member.name,
            tins(ordered)
        ),
    };
    visit::flash(&session.view(), text).await?;
    Ok(Redirect::to("/"))
}
