//! What the end of a request does to the session: one decision, from facts alone.

/// What is known at the end of a request.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Facts {
    /// The handler asked for the session, or the layer loads it for every request.
    pub(crate) used: bool,
    pub(crate) prevent_save: bool,
    pub(crate) force_save: bool,
    /// The store holds the session.
    pub(crate) known: bool,
    /// The client has an id, and the store no session of it.
    pub(crate) unknown: bool,
    pub(crate) ending: Ending,
    /// There is nothing in it, neither data nor settings.
    pub(crate) empty: bool,
    /// Its content, its principal or its cookie settings are not as stored.
    pub(crate) changed: bool,
    pub(crate) allow_empty: bool,
    pub(crate) rolling_due: bool,
    /// Its cookie was signed by a key that no longer signs.
    pub(crate) stale_signature: bool,
    /// By its own settings the session is over now.
    pub(crate) expired: bool,
}

/// What the handler wants to become of the old session.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Ending {
    /// It goes on.
    #[default]
    None,
    /// It ends. Data written afterwards make a new one.
    Destroyed,
    /// It ends, and a new one begins with other data.
    Regenerated,
    /// It goes on under a new id.
    Renewed,
}

/// What is to be done. In brackets: what the client is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Action {
    /// (nothing)
    Nothing,
    /// (the cookie again)
    Resend,
    /// (clear the cookie)
    Clear,
    /// End the old one (and clear the cookie).
    Destroy,
    /// Write a new one (and set the cookie), then end the old one if there is one.
    Create,
    /// Move the old one to a new id (and set the cookie).
    Rotate,
    /// Write the known one (and set the cookie).
    Update,
    /// Extend the known one's life (and set the cookie).
    Touch,
}

/// The table of the finalizer: the first row that fits.
pub(crate) fn decide(f: Facts) -> Action {
    use Action::{Clear, Create, Destroy, Nothing, Resend, Rotate, Touch, Update};
    let has_content = !f.empty || f.allow_empty;
    match f.ending {
        _ if !f.used || f.prevent_save => Nothing,
        _ if f.expired && f.known => Destroy,
        _ if f.expired => Nothing,
        Ending::Destroyed if f.empty && f.known => Destroy,
        Ending::Destroyed if f.empty && f.unknown => Clear,
        Ending::Destroyed if f.empty => Nothing,
        Ending::Destroyed => Create,
        Ending::Regenerated if has_content || f.force_save => Create,
        Ending::Regenerated if f.known => Destroy,
        Ending::Regenerated if f.unknown => Clear,
        Ending::Renewed if f.known && (has_content || f.force_save) => Rotate,
        Ending::Renewed if f.known => Destroy,
        Ending::None | Ending::Renewed | Ending::Regenerated => match f.known {
            false if f.force_save || has_content => Create,
            false => Nothing,
            true if f.force_save || f.changed => Update,
            true if f.rolling_due => Touch,
            true if f.stale_signature => Resend,
            true => Nothing,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Action::*;

    fn facts(words: &str) -> Facts {
        let has = |word| words.split(' ').any(|w| w == word);
        Facts {
            used: !has("unused"),
            prevent_save: has("prevent"),
            force_save: has("force"),
            known: has("known"),
            unknown: has("unknown"),
            ending: match () {
                () if has("destroyed") => Ending::Destroyed,
                () if has("regenerated") => Ending::Regenerated,
                () if has("renewed") => Ending::Renewed,
                () => Ending::None,
            },
            empty: has("empty"),
            changed: has("changed"),
            allow_empty: has("allow_empty"),
            rolling_due: has("rolling"),
            stale_signature: has("stale"),
            expired: has("expired"),
        }
    }

    #[test]
    fn the_finalizer_follows_its_table() {
        let table = [
            // never touched
            ("unused known changed", Nothing),
            ("unused known force", Nothing),
            // prevent_save holds back everything
            ("prevent known changed", Nothing),
            ("prevent known destroyed empty", Nothing),
            ("prevent known renewed changed", Nothing),
            ("prevent force known", Nothing),
            // destroyed
            ("destroyed empty", Nothing),
            ("destroyed empty known", Destroy),
            ("destroyed empty known force", Destroy),
            ("destroyed empty known allow_empty", Destroy),
            ("destroyed empty unknown", Clear),
            ("destroyed known changed", Create),
            ("destroyed changed", Create),
            // a new id
            ("regenerated known changed", Create),
            ("regenerated changed", Create),
            ("regenerated known empty", Destroy),
            ("regenerated empty", Nothing),
            ("regenerated empty unknown", Clear),
            ("renewed empty unknown", Nothing),
            ("empty unknown", Nothing),
            ("regenerated known empty allow_empty", Create),
            ("regenerated known empty force", Create),
            ("renewed known", Rotate),
            ("renewed known changed", Rotate),
            ("renewed known empty", Destroy),
            ("renewed known empty allow_empty", Rotate),
            ("renewed", Create),
            ("renewed empty", Nothing),
            // force_save
            ("force known", Update),
            ("force empty", Create),
            // a new visitor
            ("empty", Nothing),
            ("empty changed", Nothing),
            ("empty rolling", Nothing),
            ("empty allow_empty", Create),
            ("changed", Create),
            // a known one
            ("known changed", Update),
            ("known changed empty", Update),
            ("known rolling", Touch),
            ("known changed rolling", Update),
            ("known stale", Resend),
            ("known", Nothing),
            // over by its own settings
            ("expired known changed", Destroy),
            ("expired changed", Nothing),
        ];
        for (words, action) in table {
            assert_eq!(decide(facts(words)), action, "{words}");
        }
    }
}
