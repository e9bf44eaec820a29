//! Which of a site's rules hold for a request and its response: patterns, conditions, and the order in which
//! rules count. What a rule then does is not known here.

mod condition;
mod expression;
mod pattern;
mod program;
mod template;

pub use self::condition::{Condition, Question, StatusTest, ValueTest};
pub use self::expression::{Expression, ExpressionError};
pub use self::pattern::{Pattern, PatternError};
pub use self::program::{Program, RULES_MAX, Rule, Selection, Set};
pub use self::template::{Template, TemplateError};
