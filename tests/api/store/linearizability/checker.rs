//! A search for an order of concurrent operations that a sequential model allows: the algorithm
//! of Wing and Gong, "Testing and Verifying Concurrent Objects", 1993
//! (<https://www.cs.cmu.edu/~wing/publications/WingGong93.pdf>), with the memory of Lowe, "Testing
//! for linearizability", 2017 (<https://doi.org/10.1002/cpe.3928>).
//!
//! (The crates for it, `todc-utils` and `stateright`, want answers that the model alone
//! determines. Here a model learns from an answer what it cannot know, such as a time.)

use std::{collections::HashSet, hash::Hash};

/// What operations do where they come one after the other.
pub trait Model {
    /// What is stored.
    type State: Clone + Eq + Hash;
    /// What is asked.
    type Call;
    /// What comes back.
    type Answer;

    /// The state after `call`, which has this `answer`: none where the model does not allow it.
    /// Without an answer, the state after a call that takes effect: none where it has none.
    fn step(
        state: &Self::State,
        call: &Self::Call,
        answer: Option<&Self::Answer>,
    ) -> Option<Self::State>;
}

/// An operation of a history.
#[derive(Debug)]
pub struct Operation<C, A> {
    /// What is asked.
    pub call: C,
    /// What comes back: none where the outcome is not known. Such an operation takes effect at
    /// any time after it is invoked, or never.
    pub answer: Option<A>,
    /// When it is invoked. No two events have the same time.
    pub invoked: u64,
    /// When it returns. It counts where there is an answer.
    pub returned: u64,
}

/// An order in which `model` allows the `history` from the state `start` on, by the indexes of
/// its operations. Those without an answer may be missing.
///
/// # Errors
/// There is none: the longest order of some of them that is allowed.
pub fn linearize<M: Model>(
    start: &M::State,
    history: &[Operation<M::Call, M::Answer>],
) -> Result<Vec<usize>, Vec<usize>> {
    assert!(history.len() <= 64, "the operations are the bits of a u64");
    let mut search = Search::<M> {
        history,
        met: HashSet::new(),
        order: Vec::new(),
        longest: Vec::new(),
    };
    match search.goes_on(start, 0) {
        true => Ok(search.order),
        false => Err(search.longest),
    }
}

struct Search<'a, M: Model> {
    history: &'a [Operation<M::Call, M::Answer>],
    /// What has been done, with the state after it: from there, the search has failed.
    met: HashSet<(u64, M::State)>,
    order: Vec<usize>,
    longest: Vec<usize>,
}

impl<M: Model> Search<'_, M> {
    /// Whether the operations that are not `done` can follow. A bit stands for each.
    fn goes_on(&mut self, state: &M::State, done: u64) -> bool {
        let history = self.history;
        let left = (0..history.len()).filter(|index| done & (1 << index) == 0);
        let returns = left
            .clone()
            .filter(|index| history[*index].answer.is_some());
        // What is invoked after another has returned comes after it.
        let Some(first_return) = returns.map(|index| history[index].returned).min() else {
            return true;
        };
        if !self.met.insert((done, state.clone())) {
            return false;
        }
        if self.order.len() > self.longest.len() {
            self.longest.clone_from(&self.order);
        }
        for index in left.filter(|index| history[*index].invoked < first_return) {
            let Operation { call, answer, .. } = &history[index];
            let Some(next) = M::step(state, call, answer.as_ref()) else {
                continue;
            };
            self.order.push(index);
            if self.goes_on(&next, done | 1 << index) {
                return true;
            }
            self.order.pop();
        }
        false
    }
}

/// A counter that answers with what it counts.
struct Counter;

enum Count {
    Up,
    Read,
}

impl Model for Counter {
    type State = u32;
    type Call = Count;
    type Answer = u32;

    fn step(state: &u32, call: &Count, answer: Option<&u32>) -> Option<u32> {
        let next = match call {
            Up => state + 1,
            Read => *state,
        };
        answer.is_none_or(|answer| *answer == next).then_some(next)
    }
}

/// Whether a counter can have this history: of each operation the call, the answer, and when it
/// is invoked and returns.
fn counts<const N: usize>(history: [(Count, Option<u32>, u64, u64); N]) -> bool {
    let history = history.map(|(call, answer, invoked, returned)| Operation {
        call,
        answer,
        invoked,
        returned,
    });
    linearize::<Counter>(&0, &history).is_ok()
}

use Count::{Read, Up};

#[test]
fn operations_at_the_same_time_come_in_any_order() {
    assert!(counts([]));
    assert!(counts([
        (Up, Some(2), 0, 5),
        (Up, Some(1), 1, 4),
        (Read, Some(1), 2, 3)
    ]));
    assert!(counts([(Up, Some(1), 0, 3), (Read, Some(0), 1, 2)]));
}

#[test]
fn a_stale_read_has_no_order() {
    assert!(!counts([(Up, Some(1), 0, 1), (Read, Some(0), 2, 3)]));
    // Two reads in a row that go back in time, though the write is at the same time as both.
    let reads = [
        (Up, Some(1), 0, 9),
        (Read, Some(1), 1, 2),
        (Read, Some(0), 3, 4),
    ];
    assert!(!counts(reads));
}

#[test]
fn a_lost_update_has_no_order() {
    assert!(!counts([(Up, Some(1), 0, 2), (Up, Some(1), 1, 3)]));
    let lost = [
        (Up, Some(1), 0, 2),
        (Up, Some(2), 1, 3),
        (Read, Some(1), 4, 5),
    ];
    assert!(!counts(lost));
}

#[test]
fn a_write_that_counts_twice_has_no_order() {
    assert!(!counts([(Up, Some(2), 0, 1)]));
    assert!(!counts([(Up, Some(1), 0, 1), (Read, Some(2), 2, 3)]));
    assert!(!counts([(Up, None, 0, 1), (Read, Some(2), 2, 3)]));
}

#[test]
fn an_operation_without_an_answer_takes_effect_once_at_any_time_after_its_call_or_never() {
    assert!(counts([(Up, None, 0, 1), (Read, Some(0), 2, 3)]));
    assert!(counts([
        (Up, None, 0, 1),
        (Read, Some(0), 2, 3),
        (Read, Some(1), 4, 5)
    ]));
    // It takes no effect back, and has none before its call.
    assert!(!counts([
        (Up, None, 0, 1),
        (Read, Some(1), 2, 3),
        (Read, Some(0), 4, 5)
    ]));
    assert!(!counts([(Read, Some(1), 0, 1), (Up, None, 2, 3)]));
}
