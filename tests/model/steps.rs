//! What may happen next in the model's world.

use proptest::prelude::*;
use proptest_state_machine::ReferenceStateMachine;

use crate::reference::{BROWSERS, Do, LIFE, Model, PEOPLE, SLOTS, Step};

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self> {
        any::<(bool, bool)>().prop_map(|(rolling, keeps)| Self::new(rolling, keeps, true)).boxed()
    }

    fn transitions(state: &Self) -> BoxedStrategy<Step> {
        let busy: Vec<usize> = (0..SLOTS).filter(|slot| state.flights[*slot].is_some()).collect();
        let free: Vec<usize> = (0..SLOTS).filter(|slot| state.flights[*slot].is_none()).collect();
        let browser = || 0..BROWSERS;
        let status = || prop_oneof![6 => Just(200_u16), 1 => Just(404_u16), 1 => Just(500_u16)];
        let mut steps = vec![
            (6, (browser(), handler(), status()).prop_map(|(b, d, s)| Step::Request(b, d, s)).boxed()),
            (1, (browser(), browser()).prop_map(|(from, to)| Step::Copy(from, to)).boxed()),
        ];
        if state.timed {
            steps
                .push((1, prop_oneof![Just(1_u64), Just(LIFE - 1), Just(LIFE)].prop_map(Step::Wait).boxed()));
        }
        if !state.sessions.is_empty() {
            let one = (somebody(), 0..state.sessions.len()).prop_map(|(name, n)| Step::EndOne(name, n));
            steps.push((1, prop_oneof![2 => one, 1 => somebody().prop_map(Step::EndAll)].boxed()));
        }
        if !free.is_empty() {
            let begins = (prop::sample::select(free), browser(), handler(), status());
            steps.push((3, begins.prop_map(|(slot, b, d, s)| Step::Begin(slot, b, d, s)).boxed()));
        }
        if !busy.is_empty() {
            steps.push((3, prop::sample::select(busy).prop_map(Step::Finish).boxed()));
        }
        prop::strategy::Union::new_weighted(steps).boxed()
    }

    fn preconditions(state: &Self, step: &Step) -> bool {
        match step {
            Step::Begin(slot, ..) => state.flights[*slot].is_none(),
            Step::Finish(slot) => state.flights[*slot].is_some(),
            Step::Wait(_) => state.timed,
            Step::EndOne(_, session) => *session < state.sessions.len(),
            Step::Request(..) | Step::Copy(..) | Step::EndAll(_) => true,
        }
    }

    fn apply(mut state: Self, step: &Step) -> Self {
        (state.answer, state.ended) = (None, None);
        match *step {
            Step::Request(browser, what, status) => {
                let flight = state.load(browser, what, status);
                state.finish(flight);
            }
            Step::Begin(slot, browser, what, status) => {
                state.flights[slot] = Some(state.load(browser, what, status));
            }
            Step::Finish(slot) => {
                if let Some(flight) = state.flights[slot].take() {
                    state.finish(flight);
                }
            }
            Step::Copy(from, to) => state.browsers[to] = state.browsers[from],
            Step::Wait(seconds) => state.now += seconds,
            Step::EndOne(name, session) => state.end_of(name, |other| other == session),
            Step::EndAll(name) => state.end_of(name, |_| true),
        }
        state
    }
}

fn somebody() -> impl Strategy<Value = &'static str> {
    prop::sample::select(PEOPLE.to_vec())
}

fn handler() -> impl Strategy<Value = Do> {
    let key = || prop::sample::select(vec!["a", "b", "n"]);
    let pair = || (key(), 0..3_u64);
    prop_oneof![
        2 => Just(Do::Read),
        6 => pair().prop_map(|(k, v)| Do::Set(k, v)),
        2 => key().prop_map(Do::Remove),
        1 => Just(Do::Clear),
        2 => Just(Do::Add),
        1 => Just(Do::Renew),
        1 => pair().prop_map(|(k, v)| Do::RenewAndSet(k, v)),
        1 => Just(Do::Regenerate),
        1 => pair().prop_map(|(k, v)| Do::RegenerateAndSet(k, v)),
        1 => Just(Do::Logout),
        1 => pair().prop_map(|(k, v)| Do::LogoutThenSet(k, v)),
        1 => pair().prop_map(|(k, v)| Do::SetThenLogout(k, v)),
        3 => somebody().prop_map(Do::Login),
        1 => somebody().prop_map(Do::Own),
        1 => somebody().prop_map(Do::EndOthers),
    ]
}
