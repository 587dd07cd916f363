// Package reference makes the page at /docs out of the OpenAPI document: a description of every call with its parameters, its fields and
// an example to paste. The page is plain HTML with a style sheet, both in the program; it loads nothing from elsewhere and runs
// no script.
package reference
