/* SPDX-License-Identifier: GPL-2.0 */
/*
 * One IOAPIC with 24 pins, version 0x11 (82093AA data sheet): no EOI register, a level-triggered
 * pin's Remote IRR is cleared by the local APICs' EOI broadcast, or by switching the entry to
 * edge-triggered.
 *
 * Nothing is sent from inside: operations return a bit mask of pins that have something to say, and
 * the caller (which holds its lock) asks ioapic_service() for each pin's message.
 *
 * Invariants: a pin's line is the OR of its sources; Remote IRR is set only in level-triggered
 * entries; a level-triggered pin sends nothing while its Remote IRR is set; an edge is sent once,
 * and an edge on a masked pin is lost.
 */
#ifndef STRATA_IOAPIC_H
#define STRATA_IOAPIC_H

#include "msg.h"

#include <linux/bits.h>
#include <linux/types.h>
#include <linux/kvm.h>

#define IOAPIC_BASE_DEFAULT	0xfec00000ull
#define IOAPIC_WINDOW_SIZE	0x100
#define IOAPIC_PINS		KVM_IOAPIC_NUM_PINS

/* Redirection entry */
#define IOAPIC_ENTRY_LOGICAL	BIT_ULL(11)
#define IOAPIC_ENTRY_STATUS	BIT_ULL(12)
#define IOAPIC_ENTRY_REMOTE_IRR	BIT_ULL(14)
#define IOAPIC_ENTRY_LEVEL	BIT_ULL(15)
#define IOAPIC_ENTRY_MASKED	BIT_ULL(16)

/**
 * struct ioapic - an IOAPIC
 * @base: physical address of the register window
 * @select: IOREGSEL
 * @id: ID register, bits 27..24 at their place
 * @lines: level of each pin's line
 * @edges: edge-triggered pins whose edge was not sent yet
 * @sources: per pin, which sources hold its line up
 * @entry: redirection table
 */
struct ioapic {
	u64 base;
	u32 select;
	u32 id;
	u32 lines;
	u32 edges;
	u32 sources[IOAPIC_PINS];
	u64 entry[IOAPIC_PINS];
};

/**
 * enum ioapic_result - what became of a line change, for KVM_IRQ_LINE_STATUS
 * @IOAPIC_MASKED: ignored, the pin is masked
 * @IOAPIC_COALESCED: the previous interrupt of this pin is still on its way
 * @IOAPIC_SEND: ioapic_service() has a message
 * @IOAPIC_QUIET: nothing to send (the line fell, or did not change)
 */
enum ioapic_result {
	IOAPIC_MASKED,
	IOAPIC_COALESCED,
	IOAPIC_SEND,
	IOAPIC_QUIET,
};

void ioapic_reset(struct ioapic *io);

static inline bool ioapic_is_level(const struct ioapic *io, unsigned int pin)
{
	return io->entry[pin] & IOAPIC_ENTRY_LEVEL;
}

static inline bool ioapic_is_masked(const struct ioapic *io, unsigned int pin)
{
	return io->entry[pin] & IOAPIC_ENTRY_MASKED;
}

/* A level-triggered pin whose line is up and whose last interrupt has ended, or an unsent edge */
static inline bool ioapic_wants_service(const struct ioapic *io, unsigned int pin)
{
	if (ioapic_is_masked(io, pin))
		return false;
	if (ioapic_is_level(io, pin))
		return io->lines & BIT(pin) && !(io->entry[pin] & IOAPIC_ENTRY_REMOTE_IRR);
	return io->edges & BIT(pin);
}

/* The next two are in line, as each interrupt of a pin goes through both. */

/**
 * ioapic_set_line() - one of a pin's sources changes
 * @io: the IOAPIC
 * @pin: 0..23
 * @source: 0..31
 * @level: up or down
 */
static inline enum ioapic_result ioapic_set_line(struct ioapic *io, unsigned int pin,
						 unsigned int source, bool level)
{
	u32 bit = BIT(pin);
	bool was = io->lines & bit;

	if (level)
		io->sources[pin] |= BIT(source);
	else
		io->sources[pin] &= ~BIT(source);
	if (!io->sources[pin]) {
		io->lines &= ~bit;
		return IOAPIC_QUIET;
	}
	io->lines |= bit;
	if (!level)
		return IOAPIC_QUIET;
	if (ioapic_is_masked(io, pin))
		return IOAPIC_MASKED;
	if (ioapic_is_level(io, pin))
		return ioapic_wants_service(io, pin) ? IOAPIC_SEND : IOAPIC_COALESCED;
	if (was)
		return IOAPIC_COALESCED;
	io->edges |= bit;
	return IOAPIC_SEND;
}

/**
 * ioapic_service() - send what a pin has to say
 * @io: the IOAPIC
 * @pin: 0..23
 * @m: the message; the caller settles @m->broadcast with irq_msg_broadcast()
 *
 * Return: false if it has nothing to send.
 */
static inline bool ioapic_service(struct ioapic *io, unsigned int pin, struct irq_msg *m)
{
	u64 e = io->entry[pin];

	if (!ioapic_wants_service(io, pin))
		return false;

	*m = (struct irq_msg){
		.vector		= e & 0xff,
		.mode		= (e >> 8) & 7,
		.logical	= e & IOAPIC_ENTRY_LOGICAL,
		.level		= e & IOAPIC_ENTRY_LEVEL,
		.dest		= e >> 56,
		.pin		= true,
	};
	if (m->level)
		io->entry[pin] |= IOAPIC_ENTRY_REMOTE_IRR;
	io->edges &= ~BIT(pin);
	return true;
}

/*
 * ioapic_refused(): nobody took the message that ioapic_service() gave, so nobody will send its
 * EOI.
 */
void ioapic_refused(struct ioapic *io, unsigned int pin);

/*
 * ioapic_eoi(): a local APIC broadcasts the EOI of @vector. Returns the pins to be serviced again;
 * @done: those that ended.
 */
u32 ioapic_eoi(struct ioapic *io, u8 vector, u32 *done);

/* ioapic_covers(): an access at @addr is for this IOAPIC. */
static inline bool ioapic_covers(const struct ioapic *io, u64 addr)
{
	return addr >= io->base && addr - io->base < IOAPIC_WINDOW_SIZE;
}

u64 ioapic_read(const struct ioapic *io, unsigned int offset, unsigned int len);

/* ioapic_write(): a store to the window. Returns the pins to be serviced. */
u32 ioapic_write(struct ioapic *io, unsigned int offset, unsigned int len, u32 val);

/* ioapic_eoi_vectors(): vectors whose EOI ioapic_eoi() wants to see, 256 bits. */
void ioapic_eoi_vectors(const struct ioapic *io, u64 map[4]);

/**
 * ioapic_get_state() - KVM_GET_IRQCHIP
 * @io: the IOAPIC
 * @s: irr has the lines of level-triggered pins and unsent edges; pad is zero
 */
void ioapic_get_state(const struct ioapic *io, struct kvm_ioapic_state *s);

/**
 * ioapic_set_state() - KVM_SET_IRQCHIP
 * @io: the IOAPIC; who holds a line up is forgotten: the first source of a pin that changes decides
 * @s: the image; pad is not looked at
 *
 * Return: the pins to be serviced.
 */
u32 ioapic_set_state(struct ioapic *io, const struct kvm_ioapic_state *s);

#endif
