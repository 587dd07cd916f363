package broker

import (
	"errors"
	"fmt"
)

// Code is an error number of spec 10. MQTT and HTTP each map it once: hooks/codes.go and api/problem.go.
type Code int

// The codes of spec 10.
const (
	AppNotFound     Code = 4100
	SignatureFailed Code = 4102
	InvalidPeer     Code = 4103
	Banned          Code = 4106
	MessageTooLong  Code = 4109
	LimitExceeded   Code = 4113
	Malformed       Code = 4114
	RateLimited     Code = 4116
	Unauthorized    Code = 4118
	Forbidden       Code = 4119
	Internal        Code = 4200
	GroupNotFound   Code = 4303
	GroupFull       Code = 4304
	RejectedByApp   Code = 4305
	NotAMember      Code = 4317
	InvalidTarget   Code = 4401
)

var codeNames = map[Code]string{
	AppNotFound:     "app_not_found",
	SignatureFailed: "signature_failed",
	InvalidPeer:     "invalid_peer",
	Banned:          "banned",
	MessageTooLong:  "message_too_long",
	LimitExceeded:   "limit_exceeded",
	Malformed:       "malformed",
	RateLimited:     "rate_limited",
	Unauthorized:    "unauthorized",
	Forbidden:       "forbidden",
	Internal:        "internal",
	GroupNotFound:   "group_not_found",
	GroupFull:       "group_full",
	RejectedByApp:   "rejected_by_app",
	NotAMember:      "not_a_member",
	InvalidTarget:   "invalid_target",
}

// Name is the code's word in payloads and reason strings, such as "signature_failed".
func (c Code) Name() string { return codeNames[c] }

// Error is a refusal that a client or an operator sees. Its message says what to do and holds no secret.
type Error struct {
	Code    Code
	Message string
}

// Errorf returns an *Error with a formatted message.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Error is the form of reason strings: "4102 signature_failed: the nonce was used before".
func (e *Error) Error() string { return fmt.Sprintf("%d %s: %s", e.Code, e.Code.Name(), e.Message) }

// AsError returns err as an *Error. Anything unforeseen is Internal, with a message that gives nothing away.
func AsError(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return errStoreAway
}

var errStoreAway = &Error{Internal, "the store does not answer; nothing was accepted, try again"}
