//! What a row of the table of keys becomes: the key itself, its documentation, and the method of a
//! builder that sets it.

/// A method of a builder that sets a key. It never fails: a value that breaks its rule is reported
/// when everything is checked. `methods` is the mark of a key that methods may set, and changes
/// nothing here.
macro_rules! setter {
    ($docs:ident, $method:ident, $path:literal, (list of $type:ty)) => {
        #[doc = $docs!($method)]
        pub fn $method(self, list: impl IntoIterator<Item = $type>) -> Self {
            let list = list.into_iter().map(|one| Value::Text(one.into())).collect();
            self.set($path, stringify!($method), Value::List(list))
        }
    };
    ($docs:ident, $method:ident, $path:literal, ($type:ty $(as $target:ty)?) $(, methods)?) => {
        #[doc = $docs!($method)]
        pub fn $method(self, value: $type) -> Self {
            $(let value: $target = value.into();)?
            self.set($path, stringify!($method), Value::from(value))
        }
    };
}
pub(in crate::config) use setter;

/// Makes three things of the rows: `$table`, the list of keys; `$docs`, a macro with a key's
/// documentation for whatever sets or reads it; and `$setters`, a macro that stands in the `impl`
/// of a builder and makes a method for each key, or for each that is `also for methods`.
macro_rules! keys {
    ($table:ident, documented by $docs:ident, set by $setters:ident: $($group:literal { $(
        $(#[doc = $doc:literal])+
        $method:ident $type:tt: $path:literal, $kind:expr, default $default:literal,
            $(also for $also:ident,)? because $reason:literal;
    )+ })+) => {
        pub(in crate::config) const $table: &[Key] = &[$($(Key {
            path: $path,
            group: $group,
            kind: $kind,
            default: $default,
            reason: $reason,
            doc: concat!($($doc),+),
            for_methods: !(&[$(stringify!($also)),*] as &[&str]).is_empty(),
        }),+),+];

        macro_rules! $docs {
            $($(($method) => {
                concat!($($doc, "\n",)+ "\nKey `", $path, "`; default `", $default, "`.")
            };)+)+
        }
        pub(crate) use $docs;

        macro_rules! $setters {
            (each key) => { $($(setter! { $docs, $method, $path, $type })+)+ };
            (each key for methods) => { $($(
                $(setter! { $docs, $method, $path, $type, $also })?
            )+)+ };
        }
        pub(in crate::config) use $setters;
    };
}
pub(super) use keys;
