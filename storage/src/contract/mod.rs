//! What every engine and the stores over it must do, as one suite run against each (`tests/contract_*.rs`).
//!
//! Takes a [`Lab`] that makes engines, gives one `#[test]` per law through [`contract_tests!`](crate::contract_tests).
//! The laws are plain functions that panic when broken. What only a real disk can show (crashes, damage) is in
//! `tests/power_cut.rs`.

pub mod applied_laws;
pub mod engine_laws;
pub mod sample;
pub mod store_laws;

use std::sync::Arc;

use crate::batch::Engine;

/// Makes engines for the laws.
pub trait Lab {
    /// An empty engine, marked with the format version or not.
    fn fresh(&mut self) -> Arc<dyn Engine>;

    /// Closes the engine, of which this is the last handle, and opens what is left.
    fn reopen(&mut self, engine: Arc<dyn Engine>) -> Arc<dyn Engine>;
}

/// One `#[test]` per law, each in a lab of its own made by the expression.
#[macro_export]
macro_rules! contract_tests {
    ($lab:expr; $($laws:ident: $($law:ident)*;)*) => {
        $($(
            #[test]
            fn $law() {
                $crate::contract::$laws::$law(&mut $lab);
            }
        )*)*
    };
    ($lab:expr) => {
        $crate::contract_tests! {
            $lab;
            engine_laws:
                what_is_put_is_there_and_what_is_deleted_is_gone
                a_batch_is_applied_in_its_order
                families_do_not_see_each_other
                clearing_a_family_clears_all_of_it_and_nothing_else
                scans_agree_with_a_sorted_map
                the_longest_run_is_a_value_like_any_other
                everything_written_is_there_after_opening_again
                flushing_changes_nothing_a_reader_sees
                rows_are_replaced_in_bulk_beside_rows_that_are_written
                a_scan_sees_whole_batches
                writes_are_counted;
            store_laws:
                an_empty_log_has_nothing
                runs_are_found_by_position_and_by_sequence
                the_log_is_the_same_after_opening_again
                a_damaged_run_is_refused_by_name
                a_run_under_a_foreign_key_is_refused
                tiles_are_stored_whole
                the_newest_checkpoint_replaces_the_one_before
                published_checkpoints_are_kept_by_size
                rows_behind_the_cursor_come_back_with_it
                rows_are_found_through_every_merge
                what_a_crash_left_of_a_segment_is_swept_away
                event_ids_are_found_per_stream_and_ledger
                entities_are_paged_in_log_order
                all_streams_and_control_events_are_listed
                what_is_derived_can_be_deleted_and_truth_stays
                commitments_are_found_by_range_and_by_id
                credentials_come_and_go
                a_database_belongs_to_one_format_and_one_ledger;
            applied_laws:
                outcomes_are_found_by_index
                the_log_of_outcomes_has_its_own_tiles_and_checkpoints
                cuts_are_found_from_any_index_on
                what_a_plugin_holds_is_its_own_and_in_order
                pages_are_found_by_tree_and_name
                effects_are_listed_in_order_beside_what_became_of_them
                modules_are_found_by_their_hash_and_checked_against_it
                what_is_applied_can_be_deleted_alone_or_with_all_that_is_derived;
        }
    };
}
