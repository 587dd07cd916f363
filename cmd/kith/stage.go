package main

import (
	"context"

	"golang.org/x/sync/errgroup"
)

// stage is a part of the node that is stopped as one. Stages do not end with the node's context, so that they can be
// ended one after the other.
type stage struct {
	ctx   context.Context //nolint:containedctx // a stage is a lifetime
	stop  context.CancelFunc
	group *errgroup.Group
	fail  context.CancelCauseFunc // told of the first job that fails
}

func startStage(fail context.CancelCauseFunc, jobs ...func(context.Context) error) *stage {
	ctx, stop := context.WithCancel(context.Background())
	s := &stage{ctx: ctx, stop: stop, group: new(errgroup.Group), fail: fail}
	for _, job := range jobs {
		s.run(job)
	}
	return s
}

func (s *stage) run(job func(context.Context) error) {
	s.group.Go(func() error {
		err := job(s.ctx)
		if err != nil {
			s.fail(err)
		}
		return err
	})
}

// end stops the jobs, waits for them and returns the first error.
func (s *stage) end() error {
	s.stop()
	return s.group.Wait()
}
