//! Every metric that a node can show, in one place. Names and labels are public: add, do not rename. Sizes
//! are in bytes, times in seconds.

/// A metric family: its public name, what it tells and how its numbers move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name {
    /// As scraped, but for the `_total` of a counter and the `_info` of an info.
    pub text: &'static str,
    /// One sentence without the full stop.
    pub help: &'static str,
    /// How its numbers move.
    pub kind: Kind,
}

/// How the numbers of a metric move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Up only.
    Counter,
    /// Up and down.
    Gauge,
    /// Durations in buckets.
    Histogram,
    /// Always 1; the labels tell.
    Info,
}

macro_rules! list {
    ($($constant:ident $kind:ident $text:literal $help:literal)*) => {
        $(
            #[doc = concat!("`", $text, "`: ", $help, ".")]
            pub const $constant: Name = Name { text: $text, help: $help, kind: Kind::$kind };
        )*

        /// All of them, in the order of this list.
        pub const ALL: &[Name] = &[$($constant),*];
    };
}

list! {
    BUILD Info "brim_build" "Version of the running program"
    UPTIME_SECONDS Gauge "brim_uptime_seconds" "Time since the node started"
    READY Gauge "brim_ready" "1 when the node takes requests"

    REQUESTS Counter "brim_requests" "Answered requests by site, cache result and status class"
    RESPONSE_BODY_BYTES Counter "brim_response_body_bytes" "Body bytes sent to clients by site and cache result"
    CACHE_REQUESTS Counter "brim_cache_requests" "Answered requests by site, cache result and the tier that had the answer (mem, disk, none): the hit ratio of a tier is its share of hits"
    CACHE_RESPONSE_BODY_BYTES Counter "brim_cache_response_body_bytes" "Body bytes sent to clients by site, cache result and the tier that had the answer (mem, disk, none)"
    REQUEST_DURATION_SECONDS Histogram "brim_request_duration_seconds" "Time from a request's head to the last byte of its answer by site and cache result"
    REQUEST_FIRST_BYTE_SECONDS Histogram "brim_request_first_byte_seconds" "Time from a request's head to the head of its answer by site"
    REQUESTS_IN_FLIGHT Gauge "brim_requests_in_flight" "Requests being answered by site"
    DECISIONS Counter "brim_decisions" "Requests that were no plain hit by site and reason"

    FILLS Counter "brim_fills" "Fetches from the origin by site and outcome"
    FILL_BODY_BYTES Counter "brim_fill_body_bytes" "Body bytes fetched from the origin by site and outcome"
    FILL_DURATION_SECONDS Histogram "brim_fill_duration_seconds" "Time of a fetch from its start to its last byte by site"
    DIGEST_MISMATCHES Counter "brim_digest_mismatches" "Bodies from the origin that are not what their digest says, and are not stored, by site"
    FILLS_IN_FLIGHT Gauge "brim_fills_in_flight" "Running fetches from the origin by site"
    RANGE_FETCHES Counter "brim_range_fetches" "Fetches of blocks of large objects by site and outcome"
    RANGE_FETCH_BODY_BYTES Counter "brim_range_fetch_body_bytes" "Body bytes fetched as blocks by site and outcome"
    FLIGHTS Gauge "brim_flights" "Fetches and encodings that requests can join"
    FLIGHT_READERS Gauge "brim_flight_readers" "Requests that wait for or read from such fetches and encodings"
    ORIGIN_ERRORS Counter "brim_origin_errors" "Failed attempts at an origin by site and kind"
    ORIGIN_CONNECTIONS Gauge "brim_origin_connections" "Open connections to the origin by site and state (idle, busy)"
    ORIGIN_WAITING Gauge "brim_origin_waiting" "Fetches that wait for a connection by site"

    CONNECTIONS Gauge "brim_connections" "Open client connections by listener"
    CONNECTIONS_ACCEPTED Counter "brim_connections_accepted" "Client connections since the start by listener"
    CONNECTIONS_REFUSED Counter "brim_connections_refused" "Client connections refused or cut off by listener and reason"
    HANDSHAKE_FAILURES Counter "brim_handshake_failures" "TLS handshakes that failed by listener"

    STORE_UP Gauge "brim_store_up" "1 when the tier can be read and written by tier"
    STORE_ENTRIES Gauge "brim_store_entries" "Entries by tier"
    STORE_BYTES Gauge "brim_store_bytes" "Bytes used by tier"
    STORE_CAPACITY_BYTES Gauge "brim_store_capacity_bytes" "Bytes that the tier may use by tier"
    STORE_WAITING_BYTES Gauge "brim_store_waiting_bytes" "Bytes handed to the tier and not written yet by tier"
    STORE_HITS Counter "brim_store_hits" "Look-ups that found their entry by tier"
    STORE_MISSES Counter "brim_store_misses" "Look-ups that found nothing by tier"
    STORE_INSERTS Counter "brim_store_inserts" "Entries written by tier"
    STORE_EVICTIONS Counter "brim_store_evictions" "Entries that made room by tier"
    STORE_REFUSALS Counter "brim_store_refusals" "Entries that a tier did not take by tier and reason"
    STORE_ERRORS Counter "brim_store_errors" "Failed reads and writes by tier"
    STORE_INDEX_BYTES Gauge "brim_store_index_bytes" "Bytes of memory that the index takes by tier"
    STORE_INDEX_LIMIT_BYTES Gauge "brim_store_index_limit_bytes" "Bytes of memory that the index may take by tier"
    SITE_STORE_ENTRIES Gauge "brim_site_store_entries" "Entries of a site's own tier by tier and site"
    SITE_STORE_BYTES Gauge "brim_site_store_bytes" "Bytes in a site's own memory tier, and bytes written to disk for the site within one turn of the log, by tier and site"
    SITE_STORE_CAPACITY_BYTES Gauge "brim_site_store_capacity_bytes" "The site's quota by tier and site"
    SITE_STORE_HITS Counter "brim_site_store_hits" "Look-ups of a site that found their entry by tier and site"
    SITE_STORE_MISSES Counter "brim_site_store_misses" "Look-ups of a site that found nothing by tier and site"

    DISK_UP Gauge "brim_disk_up" "1 when the disk can be read and written by disk"
    DISK_CAPACITY_BYTES Gauge "brim_disk_capacity_bytes" "Bytes that the disk may use by disk"
    DISK_ENTRIES Gauge "brim_disk_entries" "Entries that the disk holds, about, by disk"
    DISK_INDEX_BYTES Gauge "brim_disk_index_bytes" "Bytes of memory that the disk's index takes by disk"
    DISK_WAITING_BYTES Gauge "brim_disk_waiting_bytes" "Bytes handed to the disk and not written yet by disk"
    DISK_HITS Counter "brim_disk_hits" "Look-ups that found their entry on the disk by disk"
    DISK_MISSES Counter "brim_disk_misses" "Look-ups that found nothing on the disk by disk"
    DISK_INSERTS Counter "brim_disk_inserts" "Entries handed to the disk by disk"
    DISK_WRITTEN_BYTES Counter "brim_disk_written_bytes" "Bytes of those entries by disk"
    DISK_REWRITES Counter "brim_disk_rewrites" "Entries written again since they were in use and about to be evicted by disk"
    DISK_REFUSALS Counter "brim_disk_refusals" "Objects and entries that the disk did not take by disk and reason"
    DISK_ERRORS Counter "brim_disk_errors" "What went wrong on the disk by disk and kind"
    DISK_RECOVERIES Counter "brim_disk_recoveries" "Times that the disk was taken into use again by disk"

    PURGES Counter "brim_purges" "Purged items by target and mode"
    PURGE_FAILURES Counter "brim_purge_failures" "Purges that could not be written and do not hold"
    TAG_OVERFLOWS Counter "brim_tag_overflows" "Responses with more tags than are told apart by site: any tag purges them"
    PURGE_SEQUENCE Gauge "brim_purge_sequence" "Sequence number of the last purge or invalidation"
    PURGE_CLOCKS Gauge "brim_purge_clocks" "Purge clocks that are kept"
    INVALIDATION_CLOCKS Gauge "brim_invalidation_clocks" "Clocks of invalidations by traffic that are kept"
    INVALIDATION_OVERFLOWS Counter "brim_invalidation_overflows" "Times that a site's clock was raised in place of its invalidations"
    PURGE_FLOOR Gauge "brim_purge_floor" "Objects with an older sequence number are misses"

    WARM_REQUESTS Counter "brim_warm_requests" "URLs and variants of them pulled by warming, which are no requests of clients, by site and outcome"
    WARM_BODY_BYTES Counter "brim_warm_body_bytes" "Body bytes read by warming by site and outcome"
    WARM_JOBS Gauge "brim_warm_jobs" "Unfinished jobs of warming by state (waiting, running)"

    VARIANTS Counter "brim_variants" "Variants made by kind (coding or picture format) and outcome"
    VARIANT_QUEUE Gauge "brim_variant_queue" "Jobs that wait for a thread by kind"
    VARIANT_DURATION_SECONDS Counter "brim_variant_duration_seconds" "Time spent making variants by kind"

    CODINGS_JOBS Counter "brim_codings_jobs" "Bodies coded by site, coding and effort (first, best; sibling is a file beside its source that was compared, undone is the origin's coding undone)"
    CODINGS_CPU_SECONDS Counter "brim_codings_cpu_seconds" "Time of the processor that these took by site, coding and effort"
    CODINGS_BYTES_IN Counter "brim_codings_bytes_in" "Bytes that were coded by site, coding and effort"
    CODINGS_BYTES_OUT Counter "brim_codings_bytes_out" "Bytes that came of it by site, coding and effort"
    CODINGS_UPGRADES Counter "brim_codings_upgrades" "Codings that were asked for often and made again at the best level by site and outcome (better, no-better, not-now, gone)"
    CODINGS_SIBLINGS_REFUSED Counter "brim_codings_siblings_refused" "Times that a coded file beside its source was not used because it does not hold the same, by site"
    CODINGS_DICTIONARIES Counter "brim_codings_dictionaries" "Contents kept as compression dictionaries, and requests of clients that have one, by site and outcome (kept, coded, no-gain, unknown, not-now)"
    CODINGS_QUEUE Gauge "brim_codings_queue" "Codings that wait to be made at the best level"
    IMAGES_JOBS Counter "brim_images_jobs" "Jobs of the threads for pictures by site and format of the result, which is none where nothing came of it"
    IMAGES_CPU_SECONDS Counter "brim_images_cpu_seconds" "Time of the processor that these jobs took by site and format"
    IMAGES_SOURCE_BYTES Counter "brim_images_source_bytes" "Bytes of the files that pictures were made of by site and format"
    IMAGES_MADE_BYTES Counter "brim_images_made_bytes" "Bytes of the pictures made by site and format"
    IMAGES_SAVED_BYTES Counter "brim_images_saved_bytes" "Bytes that the pictures made are smaller than their files by site and format"
    IMAGES_REFUSALS Counter "brim_images_refusals" "Jobs that came to nothing by site and reason"
    IMAGES_FALLBACKS Counter "brim_images_fallbacks" "Answers given as something else than the picture that they should have been by site and reason"
    IMAGES_UPGRADES Counter "brim_images_upgrades" "Pictures that were asked for often and made again with all effort by site and outcome (better, no-better, not-now, gone)"
    IMAGES_DECODES Counter "brim_images_decodes" "Files decoded"
    IMAGES_SHARED_DECODES Counter "brim_images_shared_decodes" "Jobs that found their file decoded by another"
    IMAGES_QUEUE Gauge "brim_images_queue" "Jobs that wait for a thread by urgency (answer, behind, upgrade)"
    IMAGES_QUEUE_WAIT_SECONDS Histogram "brim_images_queue_wait_seconds" "Time that jobs waited for a thread"
    IMAGES_MEMORY_BYTES Gauge "brim_images_memory_bytes" "Memory for pictures in use"
    IMAGES_DECODED_BYTES Gauge "brim_images_decoded_bytes" "The part of it that is kept decoded for jobs that may come"

    MEMORY_LIMIT_BYTES Gauge "brim_memory_limit_bytes" "Memory that the process may take"
    MEMORY_RESIDENT_BYTES Gauge "brim_memory_resident_bytes" "Memory that the process takes"
    MEMORY_PRESSURE Gauge "brim_memory_pressure" "1 for the state that holds by state (ample, tight, short)"
    MEMORY_CACHE_SHARE Gauge "brim_memory_cache_share" "The part of its configured size that the memory tier may hold at present"
    MEMORY_SHED Counter "brim_memory_shed" "What was not begun for want of memory by kind (miss, form)"

    CONFIG_RELOADS Counter "brim_config_reloads" "Reloads by outcome"
    ACCESS_LOG_RECORDS Counter "brim_access_log_records" "Requests handed to the access log"
    ACCESS_LOG_DROPPED Counter "brim_access_log_dropped" "Requests missing in the access log by reason (queue, write)"
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::ALL;

    #[test]
    fn names_are_unique_and_well_formed() {
        let mut seen = BTreeSet::new();
        for name in ALL {
            assert!(seen.insert(name.text), "{} is there twice", name.text);
            assert!(
                name.text.starts_with("brim_")
                    && name
                        .text
                        .bytes()
                        .all(|b| b.is_ascii_lowercase() || b == b'_'),
                "{}",
                name.text
            );
            assert!(!name.text.ends_with("_total") && !name.text.ends_with("_info"));
            assert!(
                !name.help.ends_with('.') && !name.help.contains('\n'),
                "{}",
                name.text
            );
        }
    }
}
