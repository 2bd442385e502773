/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The interval timer (8254 data sheet) with three channels, and port 0x61, which has channel 2's
 * gate and the speaker.
 *
 * Nothing ticks: a channel knows when its count was loaded, and everything else (OUT, the count,
 * the next interrupt) is computed from the time given.  Channel 0's interrupts are the rising edges
 * of its OUT, numbered from the load on.
 *
 * Deviation: a count written in modes 2 and 3 counts from the write on, not from the end of the
 * running period.
 */
#ifndef STRATA_PIT_H
#define STRATA_PIT_H

#include <linux/types.h>
#include <linux/kvm.h>

#define PIT_HZ		1193182
#define PIT_CHANNELS	3

#define PIT_PORT	0x40
#define PIT_PORT_SPEAKER 0x61

/**
 * struct pit_channel - one channel
 * @s: registers in the ABI's form: count is as written (BCD or binary) with 0x10000 for 0;
 *	count_load_time is host time in nanoseconds of the load, or the time already counted if
 *	the channel is stopped
 * @counting: the count goes on
 * @null: no count was written since the control word
 */
struct pit_channel {
	struct kvm_pit_channel_state s;
	bool counting;
	bool null;
};

/**
 * struct pit - the interval timer
 * @ch: channels
 * @edge: next interrupt of channel 0, in PIT ticks since its load; 0 for none
 * @missed: interrupts not yet injected, see pit_inject()
 * @unacked: an interrupt was injected whose acknowledgement is awaited
 * @reinject: ticks are not lost (KVM_REINJECT_CONTROL)
 * @hpet: KVM_PIT_FLAGS_HPET_LEGACY: channel 0 does not interrupt
 * @speaker: bit 1 of port 0x61
 */
struct pit {
	struct pit_channel ch[PIT_CHANNELS];
	u64 edge;
	u32 missed;
	bool unacked;
	bool reinject;
	bool hpet;
	bool speaker;
};

/* All times are host monotonic nanoseconds, @now never less than in the call before. */

void pit_reset(struct pit *p, u64 now);

static inline bool pit_covers(u16 port)
{
	return (port & ~3) == PIT_PORT;
}

/* One byte through ports 0x40..0x43. What was due on channel 0 is counted first. */
u8 pit_read(struct pit *p, u16 port, u64 now);
void pit_write(struct pit *p, u16 port, u8 val, u64 now);

/* One byte through port 0x61 */
u8 pit_speaker_read(const struct pit *p, u64 now);
void pit_speaker_write(struct pit *p, u8 val, u64 now);

/**
 * pit_next() - when channel 0 interrupts next
 * @p: the timer
 * @when: host time
 *
 * Return: false if it does not.
 */
bool pit_next(const struct pit *p, u64 *when);

/**
 * pit_fire() - count the interrupts of channel 0 that are due
 * @p: the timer
 * @now: host time
 *
 * With reinjection each one adds to @p->missed, else they are one.
 *
 * Return: pit_inject() may have something to do.
 */
bool pit_fire(struct pit *p, u64 now);

/**
 * pit_inject() - should the interrupt line be pulsed now
 * @p: the timer
 *
 * With reinjection only after the guest has acknowledged the last one.
 */
bool pit_inject(struct pit *p);

/*
 * pit_acked(): the guest ended the service of the interrupt. Returns true if pit_inject() has more.
 */
bool pit_acked(struct pit *p);

/* KVM_REINJECT_CONTROL; ticks that were to be reinjected are dropped when it goes off. */
void pit_set_reinject(struct pit *p, bool on);

/* pit_out(): level of a channel's OUT. */
bool pit_out(const struct pit *p, unsigned int channel, u64 now);

/**
 * pit_get_state() - KVM_GET_PIT2
 * @p: the timer
 * @now: host time
 * @s: the image. count_load_time is host time; reserved[] says what the channels do not, see
 *	pit_state.c
 */
void pit_get_state(const struct pit *p, u64 now, struct kvm_pit_state2 *s);

/**
 * pit_set_state() - KVM_SET_PIT2
 * @p: the timer
 * @s: the image
 * @now: host time
 *
 * An image with our reserved[] goes on where it was taken, on any host. Others are taken at their
 * count_load_time, if that is in the past.
 *
 * Return: 0, or -EINVAL for flags, counts and modes that do not exist.
 */
int pit_set_state(struct pit *p, const struct kvm_pit_state2 *s, u64 now);

/*
 * pit_edge_after(): for pit_state.c: first interrupt of channel 0 at or after @ticks from its load;
 * 0 for none.
 */
u64 pit_edge_after(const struct pit *p, u64 ticks);

/* pit_elapsed(): for pit_state.c: nanoseconds counted since the load. */
u64 pit_elapsed(const struct pit_channel *c, u64 now);

#endif
