use std::borrow::Cow;

use super::text::{ObjectWriter, push_array, push_string};

/// How fields of one name are written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Repeats {
    /// A field that was sent once has its value, a repeated one an array.
    #[default]
    AsNeeded,
    /// Every field has an array, so that a reader need not tell the cases apart.
    AlwaysArrays,
}

/// A field of a query or a form.
pub(super) struct Field<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) value: FieldValue<'a>,
}

pub(super) enum FieldValue<'a> {
    Text(Cow<'a, str>),
    #[cfg(feature = "multipart")]
    File {
        file_name: String,
        content_type: Option<String>,
        size: usize,
    },
}

/// Appends fields as an object. Names are in the order of their first appearance.
pub(super) fn push_fields(out: &mut String, fields: &[Field<'_>], repeats: Repeats) {
    // Sorting brings equal names together, each group in the order of appearance.
    let mut sorted: Vec<(usize, &Field<'_>)> = fields.iter().enumerate().collect();
    sorted.sort_unstable_by(|(i, a), (j, b)| a.name.cmp(&b.name).then_with(|| i.cmp(j)));
    let has_same_name =
        |(_, a): &(usize, &Field<'_>), (_, b): &(usize, &Field<'_>)| a.name == b.name;

    let mut groups: Vec<&[(usize, &Field<'_>)]> = sorted.chunk_by(has_same_name).collect();
    groups.sort_unstable_by_key(|group| group.first().map(|(index, _)| *index));

    let mut object = ObjectWriter::new(out);
    for group in groups {
        let Some((_, first)) = group.first() else {
            continue;
        };
        object.member(&first.name, |out| {
            if group.len() == 1 && repeats == Repeats::AsNeeded {
                push_value(out, &first.value);
            } else {
                push_array(out, group.iter(), |out, (_, field)| push_value(out, &field.value));
            }
        });
    }
    object.finish();
}

fn push_value(out: &mut String, value: &FieldValue<'_>) {
    match value {
        FieldValue::Text(text) => push_string(out, text),
        #[cfg(feature = "multipart")]
        FieldValue::File { file_name, content_type, size } => {
            let content_type = content_type.as_deref().unwrap_or("application/octet-stream");
            let mut object = ObjectWriter::new(out);
            object.member("filename", |out| push_string(out, file_name));
            object.member("content_type", |out| push_string(out, content_type));
            object.member("size", |out| out.push_str(&size.to_string()));
            object.finish();
        }
    }
}
