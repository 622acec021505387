// SPDX-License-Identifier: Apache-2.0

package schedule

import "slices"

// Job is a step of known length, in a run that is only imagined.
type Job struct {
	Step
	Seconds float64
	After   []int // jobs that must have ended; each has a smaller number than this one
	// Until is the job with whose end this one ends: a place that is held while others work. What comes after it goes on as soon
	// as it has begun. 0: it takes Seconds.
	Until int
}

// Course is how jobs go.
type Course struct {
	Seconds float64   // until all have ended
	Busy    float64   // processor seconds that were used of it
	Begin   []float64 // of each job; negative: it never began
}

// Chains sets what each job has before it: its own length, and the longest way of those that wait for it.
func Chains(jobs []Job) {
	for i := range jobs {
		jobs[i].Rest = jobs[i].Seconds
	}
	for i := len(jobs) - 1; i >= 0; i-- {
		for _, before := range jobs[i].After {
			jobs[before].Rest = max(jobs[before].Rest, jobs[before].Seconds+jobs[i].Rest)
		}
	}
}

// simulation is a course under way. Jobs go by their numbers.
type simulation struct {
	Course
	jobs             []Job
	open             []int   // how many each still waits for
	next             [][]int // those that wait for each
	waiting, running []int
}

// Simulate does jobs as a [Desk] would have them done.
func Simulate(jobs []Job, h Host) Course {
	s := &simulation{jobs: jobs, open: make([]int, len(jobs)), next: make([][]int, len(jobs))}
	s.Begin = make([]float64, len(jobs))
	for i, j := range jobs {
		s.Begin[i], s.open[i] = -1, len(j.After)
		for _, a := range j.After {
			s.next[a] = append(s.next[a], i)
		}
		if s.open[i] == 0 {
			s.waiting = append(s.waiting, i)
		}
	}
	for s.begin(h) || s.end() {
	}
	return s.Course
}

// begin begins what can begin, and reports whether anything did.
func (s *simulation) begin(h Host) bool {
	var begun []int
	for _, k := range Next(s.steps(s.waiting), s.steps(s.running), h) {
		begun = append(begun, s.waiting[k])
	}
	for _, i := range begun {
		s.Begin[i] = s.Seconds
		s.running = append(s.running, i)
		if s.jobs[i].Until > 0 {
			s.release(i)
		}
	}
	s.waiting = slices.DeleteFunc(s.waiting, func(i int) bool { return slices.Contains(begun, i) })
	return len(begun) > 0
}

// end lets the time pass until the next job ends, and reports whether there was one.
func (s *simulation) end() bool {
	at := func(i int) float64 { return s.Begin[i] + s.jobs[i].Seconds }
	first := -1
	for _, i := range s.running {
		if s.jobs[i].Until == 0 && (first < 0 || at(i) < at(first)) {
			first = i
		}
	}
	if first < 0 {
		return false
	}
	s.Seconds = at(first)
	s.Busy += float64(s.jobs[first].Needs.Cores) * s.jobs[first].Seconds
	s.running = slices.DeleteFunc(s.running, func(i int) bool { return i == first || s.jobs[i].Until == first && first > 0 })
	s.release(first)
	return true
}

// release lets those go on that waited for a job.
func (s *simulation) release(i int) {
	for _, n := range s.next[i] {
		if s.open[n]--; s.open[n] == 0 {
			s.waiting = append(s.waiting, n)
		}
	}
}

func (s *simulation) steps(of []int) []Step {
	out := make([]Step, len(of))
	for k, i := range of {
		out[k] = s.jobs[i].Step
	}
	return out
}
