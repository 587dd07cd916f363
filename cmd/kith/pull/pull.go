package pull

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/time/rate"
)

// MaxPage is the most records that such a server answers at once.
const MaxPage = 1000

// Options say what is pulled, from where, into what.
type Options struct {
	Source
	Server    *url.URL // its /1.1 is called
	MasterKey string   // signs requests; it does not travel itself
	Output    string   // the file of records, one a line
	State     string   // the file that says how far Output is
	Page      int      // records a request asks for, 1 to MaxPage
	Rate      float64  // requests a second, above 0
	GiveUp    time.Duration
	Progress  func(Progress) // told after each page and before each wait; nil: nobody
	Transport http.RoundTripper
}

// Source is what is pulled. A state goes on only with the same.
type Source struct {
	App          string `json:"app"`
	Conversation string `json:"conversation,omitempty"` // empty: the whole app
	Since        int64  `json:"since,omitempty"`        // Unix milliseconds; older records are left; 0: none are
	Until        int64  `json:"until,omitempty"`        // Unix milliseconds; this and newer records are left; 0: none are
}

// Progress is how far a pull is.
type Progress struct {
	Records int64         // in the file
	Oldest  time.Time     // of these; zero while there is none
	Wait    time.Duration // until the next try, after Trouble
	Trouble error         // what went wrong and is tried again; nil: all is well
}

// ErrDone says that a pull was complete before it began.
var ErrDone = errors.New("everything was pulled already")

// Run pulls until there is nothing older, or ctx ends. It returns how far it came also with an error; the same call then goes on from
// there.
func Run(ctx context.Context, o Options) (Progress, error) {
	f, err := openFile(&o)
	if err != nil {
		return Progress{}, err
	}
	defer f.close()
	if f.state.Done {
		return f.progress(), ErrDone
	}
	c := &client{
		Options: o, limit: rate.NewLimiter(rate.Limit(o.Rate), 1), said: f.progress,
		http: &http.Client{Transport: o.Transport, Timeout: requestTimeout, CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // the signature is for this server alone
		}},
	}
	for !f.state.Done {
		page, err := c.page(ctx, f.state.place)
		if err != nil {
			return f.progress(), err
		}
		if err := f.add(page); err != nil {
			return f.progress(), err
		}
		c.tell(f.progress())
	}
	return f.progress(), nil
}

func (c *client) tell(p Progress) {
	if c.Progress != nil {
		c.Progress(p)
	}
}

// place is a record by its time and id; the next page begins behind it.
type place struct {
	Time int64  `json:"max_ts,omitempty"` // Unix milliseconds; 0: the newest
	ID   string `json:"msgid,omitempty"`  // empty: what is before Time
}

// behind checks that a record lies behind a place, so that a server which passes over what it does not know cannot keep a pull going in
// circles.
func (p place) behind(before place) error {
	if before.Time != 0 && p.Time > before.Time || p == before {
		return fmt.Errorf("the server does not go backward: after %d %s it answers %d %s", before.Time, before.ID, p.Time, p.ID)
	}
	return nil
}
