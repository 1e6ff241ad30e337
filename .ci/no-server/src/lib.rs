//! Empty: the tests are what matters here.
