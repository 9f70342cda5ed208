package ersim

import (
	"container/heap"
	"context"
	"time"
)

// task is something that happens at a time, with Server.mu held.
type task struct {
	at  time.Time
	seq int64 // tasks of the same time run in the order in which they were planned
	do  func()
}

// schedule is a heap of tasks.
type schedule struct {
	tasks []task
	seq   int64
}

func (q *schedule) Len() int      { return len(q.tasks) }
func (q *schedule) Swap(i, j int) { q.tasks[i], q.tasks[j] = q.tasks[j], q.tasks[i] }
func (q *schedule) Push(x any)    { q.tasks = append(q.tasks, x.(task)) }

func (q *schedule) Less(i, j int) bool {
	a, b := q.tasks[i], q.tasks[j]
	return a.at.Before(b.at) || a.at.Equal(b.at) && a.seq < b.seq
}

func (q *schedule) Pop() any {
	last := q.tasks[len(q.tasks)-1]
	q.tasks[len(q.tasks)-1] = task{} // lets go of the closure
	q.tasks = q.tasks[:len(q.tasks)-1]
	return last
}

// after plans a task. Server.mu is held.
func (s *Server) after(wait time.Duration, do func()) {
	s.schedule.seq++
	heap.Push(&s.schedule, task{s.now().Add(wait), s.schedule.seq, do})
	select {
	case s.kick <- struct{}{}:
	default: // a kick is waiting already
	}
}

// Tick does what is due by the clock. Run does so by itself; a test with a clock
// of its own calls Tick after moving it.
func (s *Server) Tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tick()
}

// tick returns when the next task is due; false means that there is none.
func (s *Server) tick() (time.Time, bool) {
	now := s.now()
	for s.schedule.Len() > 0 {
		if next := s.schedule.tasks[0]; next.at.After(now) {
			return next.at, true
		}
		heap.Pop(&s.schedule).(task).do()
	}
	return time.Time{}, false
}

// Work lets agents, carves and scenarios work until ctx ends, as Run does, and listens
// nowhere: for tests that call ServeHTTP.
func (s *Server) Work(ctx context.Context) { s.runSchedule(ctx) }

// runSchedule is the part of Run that lets agents and scenarios work.
func (s *Server) runSchedule(ctx context.Context) {
	for {
		s.mu.Lock()
		next, planned := s.tick()
		wait := next.Sub(s.now())
		s.mu.Unlock()

		var due <-chan time.Time
		if planned {
			// An injected clock may stand still: then this looks again after the wait.
			due = time.After(max(wait, time.Millisecond))
		}
		select {
		case <-ctx.Done():
			return
		case <-s.kick:
		case <-due:
		}
	}
}
