// SPDX-License-Identifier: GPL-2.0
/*
 * The interval timer: images of KVM_GET_PIT2 and KVM_SET_PIT2.
 *
 * The ABI's channels do not say at which time the image was taken, whether channel 0's interrupt
 * has happened, whether a channel waits for a count or a trigger, nor which ticks wait for
 * reinjection. Words that the ABI reserves carry that; zero (as other implementations leave them)
 * means not known.
 */
#include "pit.h"

#include <linux/bits.h>
#include <linux/errno.h>
#include <linux/string.h>

/* struct kvm_pit_state2: reserved[] */
enum { WORD_FLAGS, WORD_NOW_LO, WORD_NOW_HI, WORD_EDGE_LO, WORD_EDGE_HI, WORD_MISSED };

#define FLAG_VALID		BIT(31)
#define FLAG_UNACKED		BIT(16)
#define FLAG_COUNTING(i)	BIT(i)
#define FLAG_NULL(i)		BIT(8 + (i))

static void put64(u32 *lo, u32 *hi, u64 val)
{
	*lo = val;
	*hi = val >> 32;
}

static u64 get64(u32 lo, u32 hi)
{
	return lo | (u64)hi << 32;
}

void pit_get_state(const struct pit *p, u64 now, struct kvm_pit_state2 *s)
{
	u32 flags = FLAG_VALID;
	struct pit copy = *p;
	unsigned int i;

	/* What is due is shown as if it had happened. */
	pit_fire(&copy, now);
	memset(s, 0, sizeof(*s));
	for (i = 0; i < PIT_CHANNELS; i++) {
		const struct pit_channel *c = &copy.ch[i];

		s->channels[i] = c->s;
		s->channels[i].count_load_time = now - pit_elapsed(c, now);
		flags |= c->counting ? FLAG_COUNTING(i) : 0;
		flags |= c->null ? FLAG_NULL(i) : 0;
	}
	s->flags = (copy.hpet ? KVM_PIT_FLAGS_HPET_LEGACY : 0) |
		   (copy.speaker ? KVM_PIT_FLAGS_SPEAKER_DATA_ON : 0);
	s->reserved[WORD_FLAGS] = flags | (copy.unacked ? FLAG_UNACKED : 0);
	s->reserved[WORD_MISSED] = copy.missed;
	put64(&s->reserved[WORD_NOW_LO], &s->reserved[WORD_NOW_HI], now);
	put64(&s->reserved[WORD_EDGE_LO], &s->reserved[WORD_EDGE_HI], copy.edge);
}

static bool channel_valid(const struct kvm_pit_channel_state *c)
{
	return c->count <= 0x10000 && c->mode <= 7 && c->rw_mode <= 3 && c->read_state <= 4 &&
	       c->write_state <= 4 && c->count_latched <= 4 && c->bcd <= 1;
}

static void set_channel(struct pit_channel *c, const struct kvm_pit_channel_state *s)
{
	c->s = *s;
	c->s.count = s->count ? s->count : 0x10000;
	c->s.mode = s->mode > 5 ? s->mode - 4 : s->mode;
	c->s.gate = !!s->gate;
	c->s.status_latched = !!s->status_latched;
}

/* Our own image: all times are relative to when it was taken. */
static void restore_exact(struct pit *p, const struct kvm_pit_state2 *s, u64 now)
{
	u64 taken = get64(s->reserved[WORD_NOW_LO], s->reserved[WORD_NOW_HI]);
	u64 edge = get64(s->reserved[WORD_EDGE_LO], s->reserved[WORD_EDGE_HI]);
	u32 flags = s->reserved[WORD_FLAGS];
	unsigned int i;

	for (i = 0; i < PIT_CHANNELS; i++) {
		struct pit_channel *c = &p->ch[i];
		u64 elapsed = taken - c->s.count_load_time;

		c->counting = flags & FLAG_COUNTING(i);
		c->null = flags & FLAG_NULL(i);
		c->s.count_load_time = c->counting ? now - elapsed : elapsed;
	}
	p->missed = s->reserved[WORD_MISSED];
	p->unacked = flags & FLAG_UNACKED;
	/* Only an edge that this channel has */
	p->edge = edge ? pit_edge_after(p, edge) : 0;
}

/*
 * Another implementation's image. A one-shot count that has run out may not have interrupted yet:
 * an interrupt too many is harmless there, a lost one is not.
 */
static void restore_plain(struct pit *p, u64 now)
{
	unsigned int i;

	for (i = 0; i < PIT_CHANNELS; i++) {
		struct pit_channel *c = &p->ch[i];
		bool triggered = c->s.mode == 1 || c->s.mode == 5;

		if (c->s.count_load_time < 0 || (u64)c->s.count_load_time > now)
			c->s.count_load_time = now;
		c->null = false;
		c->counting = triggered || c->s.gate;
		if (!c->counting)
			c->s.count_load_time = now - c->s.count_load_time;
	}
	p->missed = 0;
	p->unacked = false;
	p->edge = pit_edge_after(p, 0);
	if (p->ch[0].s.mode == 2 || p->ch[0].s.mode == 3) {
		pit_fire(p, now);
		p->missed = 0;
	}
}

int pit_set_state(struct pit *p, const struct kvm_pit_state2 *s, u64 now)
{
	unsigned int i;

	if (s->flags & ~(KVM_PIT_FLAGS_HPET_LEGACY | KVM_PIT_FLAGS_SPEAKER_DATA_ON))
		return -EINVAL;
	for (i = 0; i < PIT_CHANNELS; i++) {
		if (!channel_valid(&s->channels[i]))
			return -EINVAL;
	}

	p->hpet = s->flags & KVM_PIT_FLAGS_HPET_LEGACY;
	p->speaker = s->flags & KVM_PIT_FLAGS_SPEAKER_DATA_ON;
	for (i = 0; i < PIT_CHANNELS; i++)
		set_channel(&p->ch[i], &s->channels[i]);
	if (s->reserved[WORD_FLAGS] & FLAG_VALID)
		restore_exact(p, s, now);
	else
		restore_plain(p, now);
	return 0;
}
