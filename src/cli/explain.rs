use std::fmt::Write as _;
use std::io::Write;

use anyhow::Context;
use serde_json::Value;

use super::arguments::ExplainArguments;
use super::client::Client;
use crate::admin::Explanation;

/// Asks the node about a request and prints what it says.
pub(super) fn run(
    client: &Client,
    arguments: &ExplainArguments,
    output: &mut impl Write,
) -> anyhow::Result<()> {
    let answer = client.get(&target(arguments))?;
    if arguments.json {
        output.write_all(&answer)?;
        return Ok(());
    }
    let explanation: Explanation =
        serde_json::from_slice(&answer).context("the node's answer is not understood")?;
    output.write_all(page(&arguments.url, &explanation).as_bytes())?;
    Ok(())
}

fn target(arguments: &ExplainArguments) -> String {
    let mut target = format!("/v1/explain?url={}", encoded(&arguments.url));
    for header in &arguments.headers {
        target.push_str("&header=");
        target.push_str(&encoded(header));
    }
    if arguments.head {
        target.push_str("&method=HEAD");
    }
    target
}

/// All but the unreserved characters of RFC 3986 §2.3.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            write!(encoded, "%{byte:02X}").ok();
        }
    }
    encoded
}

fn page(url: &str, explanation: &Explanation) -> String {
    let mut lines = vec![
        ("site", explanation.site.clone()),
        ("decision", explanation.decision.clone()),
        ("reason", explanation.reason.clone()),
    ];
    let mut add = |name, value: Option<String>| lines.extend(value.map(|value| (name, value)));
    add(
        "status",
        explanation.status.map(|status| status.to_string()),
    );
    add("tier", explanation.tier.clone());
    add("freshness", freshness(explanation));
    add("variant", explanation.variant.clone());
    add(
        "body",
        explanation.body_bytes.map(|bytes| format!("{bytes} bytes")),
    );
    add("key", Some(explanation.key.clone()));
    let mut page = format!("{url}\n");
    for (name, value) in &lines {
        line(&mut page, 1, name, value);
    }
    for (name, value) in &explanation.details {
        detail(&mut page, 1, name, value);
    }
    page
}

/// One line, or one for each that it is made of, a step further in.
fn detail(page: &mut String, depth: usize, name: &str, value: &Value) {
    match value {
        Value::Null => {}
        Value::Object(members) => {
            let mut inner = String::new();
            for (name, value) in members {
                detail(&mut inner, depth + 1, name, value);
            }
            if !inner.is_empty() {
                writeln!(page, "{:1$}{name}", "", depth * 2).ok();
                page.push_str(&inner);
            }
        }
        Value::Array(members) => {
            let texts: Vec<String> = members.iter().map(text).collect();
            line(page, depth, name, &texts.join(", "));
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            line(page, depth, name, &text(value));
        }
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn line(page: &mut String, depth: usize, name: &str, value: &str) {
    if value.is_empty() {
        return;
    }
    // Names and values come from the node, parts of them from the request: no control characters reach the terminal.
    let value: String = value
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    writeln!(page, "{:1$}{name:<10} {value}", "", depth * 2).ok();
}

fn freshness(explanation: &Explanation) -> Option<String> {
    let ttl = explanation.ttl_seconds?;
    let left = ttl.unsigned_abs();
    let state = if ttl > 0 {
        format!("fresh for {left} s more")
    } else {
        format!("stale for {left} s")
    };
    Some(match explanation.age_seconds {
        Some(age) => format!("{state}, {age} s old"),
        None => state,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_is_encoded() {
        let arguments = ExplainArguments {
            url: "https://a/ä b?c&d=é+".into(),
            headers: vec!["Accept: image/*".into()],
            head: true,
            json: false,
        };
        assert_eq!(
            target(&arguments),
            "/v1/explain?url=https%3A%2F%2Fa%2F%C3%A4%20b%3Fc%26d%3D%C3%A9%2B\
             &header=Accept%3A%20image%2F%2A&method=HEAD"
        );
    }

    #[test]
    fn a_hit_reads_well() {
        let explanation = Explanation {
            site: "shop".into(),
            key: "shop|/a".into(),
            decision: "hit".into(),
            reason: "fresh".into(),
            tier: Some("memory".into()),
            status: Some(200),
            age_seconds: Some(31),
            ttl_seconds: Some(269),
            body_bytes: Some(1234),
            variant: None,
            details: [
                (
                    "coding".to_owned(),
                    serde_json::json!({
                        "coding": "br",
                        "because": null,
                        "stored": {"detail": "br;level=5", "tiers": ["mem", "disk"], "level": 5},
                    }),
                ),
                ("nothing".to_owned(), serde_json::json!({"stored": null})),
                ("tags".to_owned(), serde_json::json!(["x\u{1b}[2J", "y"])),
            ]
            .into(),
        };
        assert_eq!(
            page("https://shop.example/a", &explanation),
            "https://shop.example/a\n  \
             site       shop\n  \
             decision   hit\n  \
             reason     fresh\n  \
             status     200\n  \
             tier       memory\n  \
             freshness  fresh for 269 s more, 31 s old\n  \
             body       1234 bytes\n  \
             key        shop|/a\n  \
             coding\n    \
             coding     br\n    \
             stored\n      \
             detail     br;level=5\n      \
             level      5\n      \
             tiers      mem, disk\n  \
             tags       x\u{fffd}[2J, y\n"
        );
    }

    #[test]
    fn a_miss_leaves_out_what_there_is_not() {
        let explanation = Explanation {
            site: "shop".into(),
            key: "k\u{7}".into(),
            decision: "forward".into(),
            reason: "uri-miss".into(),
            ttl_seconds: None,
            ..Explanation::default()
        };
        assert_eq!(
            page("https://a/", &explanation),
            "https://a/\n  site       shop\n  decision   forward\n  reason     uri-miss\n  key        k\u{fffd}\n"
        );
    }
}
