//! What every engine must do, as tests over `dyn Engine`: the contract in prose stands at
//! [`apocryph_provider::Engine`]. An engine's own tests implement [`Subject`] and have
//! [`engine_conformance!`](crate::engine_conformance!) make a test of each of the functions here; a function panics where
//! the engine does otherwise.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "these are tests: what fails is to panic")]

pub mod changes;
mod driving;
pub mod gateway;
mod images;
pub mod isolation;
pub mod limits;
pub mod logs;
pub mod network;
mod pod_under_test;
pub mod running;
pub mod scaling;
mod subject;
pub mod volumes;

pub use driving::failure;
pub use images::{answering, attacker, shell};
pub use pod_under_test::PodUnderTest;
pub use subject::Subject;

/// Makes a test of each function of the suite, which the given function runs on an engine of its own.
#[macro_export]
macro_rules! engine_conformance {
    ($with_engine:path) => {
        $crate::engine_conformance! { @tests $with_engine =>
            changes: replicas_outlive_a_restart, updates_replace_or_change_nothing;
            gateway: a_lost_gateway_makes_no_pod_look_idle, a_request_is_delivered_at_most_once,
                a_request_that_arrives_during_the_stop_is_served, a_start_that_fails_is_answered_with_its_cause,
                an_end_that_was_missed_is_found_out, one_pods_burst_harms_no_other, one_start_for_all_who_wait,
                open_streams_keep_a_pod_up, the_hold_is_bounded_and_its_answers_are_typed,
                what_is_to_end_is_drained_and_asked_nothing_more, what_others_end_is_drained_too,
                what_passes_is_not_changed,
                what_runs_is_served_after_a_restart;
            isolation: containers_are_confined, devices_of_an_image_are_of_no_use, doors_of_the_kernel_are_shut,
                no_account_is_given, nothing_of_the_host_is_written_or_shown, set_user_id_programs_gain_nothing;
            limits: a_flood_of_output_is_bounded, a_memory_bomb_ends_alone, memory_is_limited,
                processes_are_limited, storage_is_limited, taken_watches_harm_no_neighbour;
            logs: output_is_logged;
            network: containers_of_a_replica_are_together, neighbours_are_out_of_reach, the_host_is_out_of_reach;
            running: a_container_that_ends_is_a_failure, an_image_of_another_is_refused,
                runs_what_the_spec_says, what_cannot_run_is_refused, what_ignores_its_end_is_killed;
            scaling: scales_up_and_down;
            volumes: a_deep_tree_goes_with_its_pod, links_in_a_volume_lead_nowhere,
                volumes_live_as_long_as_they_should;
        }
    };
    (@tests $with_engine:path => $($module:ident: $($test:ident),*;)*) => {
        $(mod $module {
            $(
                #[test]
                fn $test() {
                    $with_engine(|subject| Box::pin($crate::engine_conformance::$module::$test(subject)));
                }
            )*
        })*
    };
}
