use super::keys::{Form, Keys, Preset};
use super::keys_of_node::NODE;
use super::keys_of_site::SITE;

/// The reference of all keys as Markdown, printed from the list that the reader goes by.
#[must_use]
pub fn reference() -> String {
    let mut text = String::new();
    file(&mut text, "`edge.toml`", NODE);
    file(&mut text, "`sites/*.toml`", SITE);
    text
}

fn file(text: &mut String, title: &str, schema: &[Keys]) {
    text.push_str(&format!("### {title}\n\n"));
    for keys in schema.iter().filter(|keys| !keys.keys.is_empty()) {
        let heading = match (keys.path, keys.form) {
            ("", _) => String::new(),
            (path, Form::One) => format!("`[{path}]` "),
            (path, Form::Many) => format!("`[[{path}]]` "),
        };
        text.push_str(&format!("{heading}{}\n\n", keys.about));
        text.push_str("| Key | Value | Default | Meaning |\n| --- | --- | --- | --- |\n");
        for key in keys.keys {
            let default = match key.default {
                Preset::Toml(default) => format!("`{default}`"),
                Preset::Derived(says) => says.to_owned(),
                Preset::Required => "required".to_owned(),
            };
            let cells = [
                format!("`{}`", key.name),
                key.kind.text(),
                default,
                key.about.to_owned(),
            ]
            .map(|cell| cell.replace('|', "\\|"));
            text.push_str(&format!("| {} |\n", cells.join(" | ")));
        }
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_a_row() {
        let rows = reference()
            .lines()
            .filter(|line| line.starts_with("| `"))
            .count();
        let keys = |schema: &[Keys]| schema.iter().map(|keys| keys.keys.len()).sum::<usize>();
        assert_eq!(rows, keys(NODE) + keys(SITE));
    }

    #[test]
    fn every_sentence_ends() {
        for key in NODE.iter().chain(SITE).flat_map(|keys| keys.keys) {
            assert!(
                key.about.ends_with(['.', '`']),
                "{}: {}",
                key.name,
                key.about
            );
        }
    }
}
