//! The bundled origin: a small HTTP server on loopback with a page, web assets and pictures.
