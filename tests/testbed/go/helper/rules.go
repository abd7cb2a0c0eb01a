package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// rule says which requests are to go wrong, and how. The first one that fits a
// request and is not used up is followed.
type rule struct {
	// Method and Watch fit every request when they are left out, as do the
	// regular expressions Path (with the query) and UserAgent.
	Method    string `json:"method"`
	Path      string `json:"path"`
	UserAgent string `json:"user_agent"`
	Watch     *bool  `json:"watch"`
	// Skip lets the first requests that fit pass; Times is how many are then
	// treated, 0 meaning all.
	Skip  int `json:"skip"`
	Times int `json:"times"`

	// Action is one of:
	//	delay    answer Milliseconds late
	//	status   answer with Status and, if set, Retry-After: RetryAfter
	//	reset    close the connection with RST
	//	hang     never answer
	//	gone     410: on a watch as its first event, else as the answer
	//	cut      answer, and close the connection after Milliseconds
	//	slow     answer with BytesPerSecond, all such answers together
	Action         string `json:"action"`
	Milliseconds   int    `json:"milliseconds"`
	Status         int    `json:"status"`
	RetryAfter     int    `json:"retry_after"`
	BytesPerSecond int    `json:"bytes_per_second"`

	path, userAgent *regexp.Regexp
	pace            *rate.Limiter
	seen            int
}

// faults is the set of rules in force, changed through standard input and
// reporting to standard output: one JSON object a line.
type faults struct {
	mutex sync.Mutex
	rules []*rule
	out   *json.Encoder
}

type report struct {
	// Ready is the address the server listens at; said once.
	Ready string `json:"ready,omitempty"`
	// Rules is the number of rules now in force; the answer to every change.
	Rules *int `json:"rules,omitempty"`
	// Error says why a change was refused.
	Error string `json:"error,omitempty"`
	// Method, Path and UserAgent are of a request that arrived; Action is what
	// was done to it, empty when it was served.
	Method    string `json:"method,omitempty"`
	Path      string `json:"path,omitempty"`
	UserAgent string `json:"user_agent,omitempty"`
	Action    string `json:"action,omitempty"`
}

func newFaults() *faults { return &faults{out: json.NewEncoder(os.Stdout)} }

func (f *faults) say(what report) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	_ = f.out.Encode(what)
}

// obey reads lists of rules until standard input ends; then the process ends,
// so that nothing is left when whoever started it is killed.
func (f *faults) obey() {
	lines := bufio.NewReader(os.Stdin)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			if !errors.Is(err, io.EOF) {
				fmt.Fprintln(os.Stderr, err)
			}
			os.Exit(0)
		}
		rules, err := parse(line)
		if err != nil {
			f.say(report{Error: err.Error()})
			continue
		}
		f.mutex.Lock()
		f.rules = rules
		f.mutex.Unlock()
		count := len(rules)
		f.say(report{Rules: &count})
	}
}

func parse(line []byte) ([]*rule, error) {
	var rules []*rule
	if err := json.Unmarshal(line, &rules); err != nil {
		return nil, err
	}
	for _, each := range rules {
		var err error
		if each.path, err = regexp.Compile(each.Path); err != nil {
			return nil, err
		}
		if each.userAgent, err = regexp.Compile(each.UserAgent); err != nil {
			return nil, err
		}
		pace := max(each.BytesPerSecond, 1)
		each.pace = rate.NewLimiter(rate.Limit(pace), max(pace/10, 1))
		switch each.Action {
		case "delay", "status", "reset", "hang", "gone", "cut", "slow":
		default:
			return nil, fmt.Errorf("there is no action %q", each.Action)
		}
	}
	return rules, nil
}

func isWatch(request *http.Request) bool {
	value := request.URL.Query().Get("watch")
	return value == "true" || value == "1"
}

func (f *faults) choose(request *http.Request) *rule {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	for _, each := range f.rules {
		fits := (each.Method == "" || each.Method == request.Method) &&
			(each.Watch == nil || *each.Watch == isWatch(request)) &&
			each.path.MatchString(request.URL.RequestURI()) &&
			each.userAgent.MatchString(request.UserAgent())
		if !fits {
			continue
		}
		each.seen++
		if each.seen <= each.Skip || each.Times > 0 && each.seen > each.Skip+each.Times {
			continue
		}
		return each
	}
	return nil
}

// around serves requests through next, except those that a rule spoils.
func (f *faults) around(next http.Handler) http.Handler {
	return http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
		chosen := f.choose(request)
		said := report{Method: request.Method, Path: request.URL.RequestURI(), UserAgent: request.UserAgent()}
		if chosen != nil {
			said.Action = chosen.Action
		}
		f.say(said)
		if chosen == nil {
			next.ServeHTTP(response, request)
			return
		}
		span := time.Duration(chosen.Milliseconds) * time.Millisecond
		switch chosen.Action {
		case "delay":
			select {
			case <-time.After(span):
				next.ServeHTTP(response, request)
			case <-request.Context().Done():
			}
		case "status":
			if chosen.RetryAfter > 0 {
				response.Header().Set("Retry-After", strconv.Itoa(chosen.RetryAfter))
			}
			refuse(response, chosen.Status, http.StatusText(chosen.Status))
		case "reset":
			reset(response)
		case "hang":
			<-request.Context().Done()
		case "gone":
			gone(response, request)
		case "cut":
			ctx, cancel := context.WithTimeout(request.Context(), span)
			defer cancel()
			next.ServeHTTP(response, request.WithContext(ctx))
			if ctx.Err() != nil {
				panic(http.ErrAbortHandler)
			}
		case "slow":
			next.ServeHTTP(&slowWriter{response, request.Context(), chosen.pace}, request)
		}
	})
}

// status is the object that Kubernetes puts into the body of every refusal.
func status(code int, message string) map[string]any {
	reasons := map[int]string{
		http.StatusForbidden: "Forbidden", http.StatusNotFound: "NotFound", http.StatusConflict: "Conflict",
		http.StatusGone: "Expired", http.StatusTooManyRequests: "TooManyRequests",
		http.StatusInternalServerError: "InternalError", http.StatusServiceUnavailable: "ServiceUnavailable",
	}
	return map[string]any{
		"kind": "Status", "apiVersion": "v1", "metadata": map[string]any{}, "status": "Failure",
		"message": message, "reason": reasons[code], "code": code,
	}
}

func refuse(response http.ResponseWriter, code int, message string) {
	response.Header().Set("Content-Type", "application/json")
	response.WriteHeader(code)
	_ = json.NewEncoder(response).Encode(status(code, message))
}

func gone(response http.ResponseWriter, request *http.Request) {
	const message = "too old resource version: 1 (2)"
	if !isWatch(request) {
		refuse(response, http.StatusGone, message)
		return
	}
	response.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(response).Encode(map[string]any{"type": "ERROR", "object": status(http.StatusGone, message)})
}

// reset closes the connection so that the client sees RST.
func reset(response http.ResponseWriter) {
	connection, _, err := http.NewResponseController(response).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	inner := connection
	if wrapped, ok := connection.(interface{ NetConn() net.Conn }); ok {
		inner = wrapped.NetConn()
	}
	if tcp, ok := inner.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = inner.Close()
}

// slowWriter passes a body on at the pace of a line that it shares.
type slowWriter struct {
	http.ResponseWriter
	ctx  context.Context
	pace *rate.Limiter
}

// Unwrap lets http.ResponseController reach what is below.
func (w *slowWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *slowWriter) Write(bytes []byte) (int, error) {
	written := 0
	for written < len(bytes) {
		end := min(written+w.pace.Burst(), len(bytes))
		if err := w.pace.WaitN(w.ctx, end-written); err != nil {
			return written, err
		}
		count, err := w.ResponseWriter.Write(bytes[written:end])
		written += count
		if err != nil {
			return written, err
		}
		_ = http.NewResponseController(w.ResponseWriter).Flush()
	}
	return written, nil
}
