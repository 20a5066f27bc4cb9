//! Several are asked at once, the best being first; who is silent does not keep a good answer
//! waiting for long.
//!
//! ```text
//!   asking --first good answer--> grace --over, or all before it have answered--> decided
//!      '------------- the best of all is good, or nobody's is ----------------------^
//! ```

use futures::{
    Stream, StreamExt as _,
    future::{Either, select},
};
use std::pin::pin;

/// How a race ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Decided<T, E> {
    /// What came from those before the winner, in order; `None` of those who said nothing.
    pub(crate) passed: Vec<Option<E>>,
    /// The best good answer.
    pub(crate) winner: Option<T>,
}

struct Answers<T, E>(Vec<Option<Result<T, E>>>);

/// Takes `answers`, each with its place among `count`, until the best good one is known. From the
/// first good one on, those before it have only as long as `grace`, which is first polled then.
pub(crate) async fn race<T, E>(
    count: usize,
    answers: impl Stream<Item = (usize, Result<T, E>)>,
    grace: impl Future<Output = ()>,
) -> Decided<T, E> {
    let (mut answers, mut grace) = (pin!(answers), pin!(grace));
    let mut known = Answers((0..count).map(|_| None).collect());
    while !known.are_enough() {
        let next = answers.next();
        let answered = match known.any_good() {
            false => next.await,
            true => match select(next, grace.as_mut()).await {
                Either::Left((answered, _)) => answered,
                Either::Right(_) => break,
            },
        };
        let Some((place, answer)) = answered else { break };
        known.0[place] = Some(answer);
    }
    known.decide()
}

impl<T, E> Answers<T, E> {
    fn any_good(&self) -> bool {
        self.0.iter().flatten().any(Result::is_ok)
    }

    /// Whether nobody before the best good answer has yet to answer.
    fn are_enough(&self) -> bool {
        self.0.iter().find(|answer| !matches!(answer, Some(Err(_)))).is_none_or(Option::is_some)
    }

    fn decide(self) -> Decided<T, E> {
        let mut passed = Vec::new();
        for answer in self.0 {
            match answer {
                Some(Ok(winner)) => return Decided { passed, winner: Some(winner) },
                Some(Err(error)) => passed.push(Some(error)),
                None => passed.push(None),
            }
        }
        Decided { passed, winner: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{executor::block_on, future, stream};
    use proptest::prelude::*;

    type Answer = Result<&'static str, &'static str>;

    /// Those who answer, in the order in which they do; the others stay silent for ever.
    fn run(count: usize, answers: &[(usize, Answer)]) -> Decided<&'static str, &'static str> {
        let answers = stream::iter(answers.to_vec()).chain(stream::pending());
        block_on(race(count, answers, future::ready(())))
    }

    #[test]
    fn the_best_good_answer_wins_whoever_is_first() {
        let decided = run(3, &[(2, Ok("dear")), (0, Err("full")), (1, Ok("cheap"))]);
        assert_eq!(decided, Decided { passed: vec![Some("full")], winner: Some("cheap") });
    }

    #[test]
    fn the_silent_are_passed_over_once_one_is_good() {
        let decided = run(3, &[(1, Err("full")), (2, Ok("dear"))]);
        assert_eq!(decided, Decided { passed: vec![None, Some("full")], winner: Some("dear") });
    }

    #[test]
    fn without_a_good_answer_everyone_is_waited_for() {
        let waiting = async {
            race(2, stream::iter([(1, Answer::Err("full"))]).chain(stream::pending()), future::ready(()))
                .await
        };
        let mut waiting = pin!(waiting);
        assert!(futures::FutureExt::now_or_never(waiting.as_mut()).is_none());
        assert_eq!(run(2, &[(1, Err("full")), (0, Err("dead"))]).passed, [Some("dead"), Some("full")]);
    }

    proptest! {
        #[test]
        fn the_winner_is_the_best_that_is_good(good: [bool; 5], order in Just([0, 1, 2, 3, 4]).prop_shuffle()) {
            let answers = order.map(|place| (place, if good[place] { Ok(place) } else { Err(place) }));
            let decided = block_on(race(5, stream::iter(answers), future::pending()));
            prop_assert_eq!(decided.winner, good.iter().position(|good| *good));
            prop_assert!(decided.passed.iter().enumerate().all(|(place, error)| *error == Some(place)));
        }
    }
}
