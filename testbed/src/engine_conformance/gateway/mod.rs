//! The properties of the gateway, with the real gateway before the engine under test: a pod that is started
//! for a request, answers it, and goes to zero again. What the gateway does by itself is tested with it; here
//! stands what an engine could break.

mod app;
mod delivery;
mod failing;
mod front;
mod holding;
mod lent_pods;
mod levels;
mod several;
mod stopping;
mod streams;
mod ticks;
mod transparent;

pub use delivery::a_request_is_delivered_at_most_once;
pub use failing::a_start_that_fails_is_answered_with_its_cause;
pub use holding::{
    one_pods_burst_harms_no_other, one_start_for_all_who_wait, the_hold_is_bounded_and_its_answers_are_typed,
};
pub use levels::{an_end_that_was_missed_is_found_out, what_runs_is_served_after_a_restart};
pub use several::a_lost_gateway_makes_no_pod_look_idle;
pub use stopping::{
    a_request_that_arrives_during_the_stop_is_served, what_is_to_end_is_drained_and_asked_nothing_more,
    what_others_end_is_drained_too,
};
pub use streams::open_streams_keep_a_pod_up;
pub use transparent::what_passes_is_not_changed;
