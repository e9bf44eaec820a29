use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use anyhow::{Context, bail};

use super::arguments::WarmArguments;
use super::client::Client;
use crate::admin::{WarmFailure, WarmRecord, WarmState};

/// Lines of one order; the door takes 100 000 and 8 MiB.
pub(super) const BATCH: usize = 5_000;

/// Failed URLs that are named at the end.
const FAILURES_TOLD: usize = 20;

/// Warms, in as many orders as the list needs, and says what came of it. `progress` is a terminal.
///
/// # Errors
/// When the node refuses, or a URL could not be warmed.
pub(super) fn run(
    client: &Client,
    arguments: &WarmArguments,
    input: &mut impl BufRead,
    output: &mut impl Write,
    mut progress: Option<&mut impl Write>,
) -> anyhow::Result<()> {
    let mut sum = WarmRecord::default();
    for body in bodies(arguments, input)? {
        let mut last = None;
        let mut shown = false;
        let asked = client.post_for_lines("/v1/warm", &body, &mut |line| {
            let record: WarmRecord =
                serde_json::from_slice(line).context("the node's answer is not understood")?;
            if let Some(progress) = &mut progress {
                write!(progress, "\r\x1b[K{}", progress_line(&sum, &record))?;
                progress.flush()?;
                shown = true;
            }
            last = Some((record, line.to_vec()));
            Ok(())
        });
        if let (Some(progress), true) = (&mut progress, shown) {
            write!(progress, "\r\x1b[K")?;
        }
        asked?;
        let Some((record, line)) = last else {
            bail!("the node's answer is not understood");
        };
        if arguments.json {
            output.write_all(&line)?;
            writeln!(output)?;
        }
        let state = record.state;
        add(&mut sum, record);
        if state != WarmState::Done {
            write_summary(arguments, &sum, output)?;
            bail!("the warming was ended before all was done");
        }
    }
    write_summary(arguments, &sum, output)?;
    if sum.failed > 0 {
        bail!("{} of {} could not be warmed", sum.failed, sum.total);
    }
    Ok(())
}

fn write_summary(
    arguments: &WarmArguments,
    sum: &WarmRecord,
    output: &mut impl Write,
) -> anyhow::Result<()> {
    if !arguments.json {
        output.write_all(summary(sum).as_bytes())?;
    }
    Ok(())
}

fn bodies(
    arguments: &WarmArguments,
    input: &mut impl BufRead,
) -> anyhow::Result<Vec<serde_json::Value>> {
    let urls = match (&arguments.file, arguments.sitemaps.is_empty()) {
        (None, false) => Vec::new(),
        (None, true) => list(input).context("standard input cannot be read")?,
        (Some(file), _) if file.as_path() == Path::new("-") => {
            list(input).context("standard input cannot be read")?
        }
        (Some(file), _) => File::open(file)
            .and_then(|opened| list(&mut BufReader::new(opened)))
            .with_context(|| format!("the list {} cannot be read", file.display()))?,
    };
    if urls.is_empty() && arguments.sitemaps.is_empty() {
        bail!("the list is empty: give URLs or paths, one a line");
    }
    let mut order = serde_json::Map::new();
    let mut put = |name: &str, value: serde_json::Value| order.insert(name.to_owned(), value);
    put("site", arguments.site.clone().into());
    put("wait", true.into());
    if let Some(concurrency) = arguments.concurrency {
        put("concurrency", concurrency.into());
    }
    if let Some(host) = &arguments.host {
        put("host", host.clone().into());
    }
    put("accept", arguments.accepts.clone().into());
    put("accept_encoding", arguments.accept_encodings.clone().into());
    put("headers", fields(&arguments.headers)?.into());

    let mut bodies: Vec<serde_json::Value> = urls
        .chunks(BATCH)
        .map(|urls| {
            let mut order = order.clone();
            order.insert("urls".to_owned(), urls.to_vec().into());
            order.into()
        })
        .collect();
    if !arguments.sitemaps.is_empty() {
        order.insert("sitemap".to_owned(), arguments.sitemaps.clone().into());
        bodies.push(order.into());
    }
    Ok(bodies)
}

/// One URL or path a line. No URL has a space or a `#`, so what follows is a comment.
fn list(input: &mut impl BufRead) -> std::io::Result<Vec<String>> {
    let mut urls = Vec::new();
    for line in input.lines() {
        let line = line?;
        let line = line.trim_start_matches('\u{feff}').trim();
        let url = match line.find(" #") {
            Some(comment) => line.get(..comment).unwrap_or_default().trim_end(),
            None => line,
        };
        if !url.is_empty() && !url.starts_with('#') {
            urls.push(url.to_owned());
        }
    }
    Ok(urls)
}

fn fields(given: &[String]) -> anyhow::Result<serde_json::Map<String, serde_json::Value>> {
    let mut fields = serde_json::Map::new();
    for field in given {
        let (name, value) = field
            .split_once(':')
            .with_context(|| format!("'{field}' is no field; write 'Name: value'"))?;
        fields.insert(name.trim().to_owned(), value.trim().into());
    }
    Ok(fields)
}

fn progress_line(before: &WarmRecord, now: &WarmRecord) -> String {
    if now.state == WarmState::Waiting {
        return "waiting for its turn".to_owned();
    }
    let done = before.done + now.done;
    let rate = match now.elapsed_seconds > 0.0 {
        true => decimal(now.done) / now.elapsed_seconds,
        false => 0.0,
    };
    format!(
        "{done}/{} done, {rate:.1}/s, {}, {} failed",
        before.total + now.total,
        size(before.body_bytes + now.body_bytes),
        before.failed + now.failed
    )
}

fn summary(sum: &WarmRecord) -> String {
    let mut text = format!(
        "Warmed {} of {}: {} hit{}, ",
        sum.done,
        sum.total,
        sum.hits,
        if sum.hits == 1 { "" } else { "s" }
    );
    if sum.revalidated > 0 {
        text.push_str(&format!("{} revalidated, ", sum.revalidated));
    }
    text.push_str(&format!(
        "{} filled ({}), {} uncacheable, {} failed.\n",
        sum.filled,
        size(sum.filled_bytes),
        sum.uncacheable,
        sum.failed
    ));
    for (what, reasons) in [
        ("uncacheable", &sum.uncacheable_reasons),
        ("failed", &sum.failed_reasons),
    ] {
        let list: Vec<String> = reasons
            .iter()
            .map(|(reason, count)| format!("{count} {reason}"))
            .collect();
        if !list.is_empty() {
            text.push_str(&format!("  {what}: {}\n", list.join(", ")));
        }
    }
    for failure in sum.failures.iter().take(FAILURES_TOLD) {
        text.push_str(&format!("  {}\n", told(failure)));
    }
    if sum.failed > 0 && sum.failures.len() > FAILURES_TOLD {
        text.push_str("  … and more; --json names the first hundred of each order\n");
    }
    text
}

/// What comes from lists and sitemaps does not reach the terminal with its control characters.
fn told(failure: &WarmFailure) -> String {
    let mut text = format!("{}: {}", failure.url, failure.reason);
    if let Some(detail) = &failure.detail {
        text.push_str(", ");
        text.push_str(detail);
    }
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

fn add(sum: &mut WarmRecord, record: WarmRecord) {
    sum.total += record.total;
    sum.done += record.done;
    sum.hits += record.hits;
    sum.revalidated += record.revalidated;
    sum.filled += record.filled;
    sum.uncacheable += record.uncacheable;
    sum.failed += record.failed;
    sum.body_bytes += record.body_bytes;
    sum.filled_bytes += record.filled_bytes;
    sum.sitemaps += record.sitemaps;
    sum.elapsed_seconds += record.elapsed_seconds;
    join(&mut sum.uncacheable_reasons, record.uncacheable_reasons);
    join(&mut sum.failed_reasons, record.failed_reasons);
    // One more than is told, so that it shows when there are more.
    let room = (FAILURES_TOLD + 1).saturating_sub(sum.failures.len());
    sum.failures.extend(record.failures.into_iter().take(room));
}

fn join(sum: &mut BTreeMap<String, u64>, more: BTreeMap<String, u64>) {
    for (reason, count) in more {
        *sum.entry(reason).or_default() += count;
    }
}

fn size(bytes: u64) -> String {
    let mut value = decimal(bytes);
    if value < 1024.0 {
        return format!("{bytes} bytes");
    }
    let mut unit = "";
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

/// For people to read: what is above 2^53 may be off in the sixteenth digit.
fn decimal(number: u64) -> f64 {
    let (high, low) = (number >> 32, number & u64::from(u32::MAX));
    let half = |part: u64| f64::from(u32::try_from(part).unwrap_or(u32::MAX));
    half(high) * 4_294_967_296.0 + half(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_well() {
        for (bytes, expect) in [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (1536, "1.5 KiB"),
            (5 << 20, "5.0 MiB"),
            (u64::MAX, "16777216.0 TiB"),
        ] {
            assert_eq!(size(bytes), expect);
        }
    }

    #[test]
    fn progress_counts_all_orders() {
        let before = WarmRecord {
            total: 10,
            done: 10,
            failed: 1,
            body_bytes: 1024,
            ..WarmRecord::default()
        };
        let now = WarmRecord {
            state: WarmState::Running,
            total: 5,
            done: 3,
            body_bytes: 512,
            elapsed_seconds: 2.0,
            ..WarmRecord::default()
        };
        assert_eq!(
            progress_line(&before, &now),
            "13/15 done, 1.5/s, 1.5 KiB, 1 failed"
        );
        let waiting = WarmRecord::default();
        assert_eq!(progress_line(&before, &waiting), "waiting for its turn");
    }

    #[test]
    fn failures_are_told_without_control_characters() {
        let failure = WarmFailure {
            url: "/a\u{1b}[2J".into(),
            reason: "bad-url".into(),
            status: None,
            detail: Some("why".into()),
        };
        assert_eq!(told(&failure), "/a\u{fffd}[2J: bad-url, why");
    }
}
