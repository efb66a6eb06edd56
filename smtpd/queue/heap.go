package queue

// jobHeap orders jobs by next, for container/heap.
type jobHeap []*job

func (h jobHeap) Len() int           { return len(h) }
func (h jobHeap) Less(a, b int) bool { return h[a].next.Before(h[b].next) }
func (h jobHeap) Swap(a, b int) {
	h[a], h[b] = h[b], h[a]
	h[a].index, h[b].index = a, b
}
func (h *jobHeap) Push(x any) {
	j := x.(*job)
	j.index = len(*h)
	*h = append(*h, j)
}
func (h *jobHeap) Pop() any {
	old := *h
	j := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return j
}

// parkedHeap orders destinations by parkedUntil, for container/heap.
type parkedHeap []*destination

func (h parkedHeap) Len() int           { return len(h) }
func (h parkedHeap) Less(a, b int) bool { return h[a].parkedUntil.Before(h[b].parkedUntil) }
func (h parkedHeap) Swap(a, b int)      { h[a], h[b] = h[b], h[a] }
func (h *parkedHeap) Push(x any)        { *h = append(*h, x.(*destination)) }
func (h *parkedHeap) Pop() any {
	old := *h
	d := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return d
}
