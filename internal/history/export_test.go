package history

// Held is how many bytes wait for the consumer.
func (f *Fetch) Held() int64 { return f.queue.held() }

// Window bounds them, but for one packet.
const Window = window
