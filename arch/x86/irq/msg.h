/* SPDX-License-Identifier: GPL-2.0 */
/*
 * An interrupt message: what an IOAPIC, an MSI or an ICR write puts on the bus, and what local
 * APICs take from it.
 *
 * The same structure serves all three senders, so destination matching and acceptance are written
 * once. A sender's own idea of "everybody" (0xff, or all ones in x2APIC format) is settled when the
 * message is made: @broadcast says so, and @dest is then ignored.
 */
#ifndef STRATA_IRQ_MSG_H
#define STRATA_IRQ_MSG_H

#include <linux/types.h>

/* Delivery modes as ICR, LVT, redirection entries and MSI data encode them */
enum irq_mode {
	IRQ_MODE_FIXED,
	IRQ_MODE_LOWEST,
	IRQ_MODE_SMI,
	IRQ_MODE_RESERVED,
	IRQ_MODE_NMI,
	IRQ_MODE_INIT,
	IRQ_MODE_SIPI,
	IRQ_MODE_EXTINT,
};

/* Destination shorthands as the ICR encodes them */
enum irq_shorthand {
	IRQ_DEST_FIELD,
	IRQ_DEST_SELF,
	IRQ_DEST_ALL,
	IRQ_DEST_OTHERS,
};

/**
 * struct irq_msg - one interrupt message
 * @dest: destination: an APIC ID, or a message destination address if @logical
 * @vector: 0..255
 * @mode: enum irq_mode
 * @shorthand: enum irq_shorthand; IRQ_DEST_FIELD except for IPIs
 * @logical: @dest is a message destination address
 * @broadcast: every local APIC is addressed, whatever @dest says
 * @level: level-triggered: the EOI is to be broadcast to the IOAPICs
 * @pin: an IOAPIC's pin sends it: its EOI may be waited for though it is an edge
 * @redirect: redirection hint: one of the APICs addressed, as for IRQ_MODE_LOWEST
 */
struct irq_msg {
	u32 dest;
	u8 vector;
	u8 mode;
	u8 shorthand;
	bool logical;
	bool broadcast;
	bool level;
	bool pin;
	bool redirect;
};

/* The message goes to one of the APICs it addresses, chosen by lapic_arbitrate(). */
static inline bool irq_msg_lowest(const struct irq_msg *m)
{
	return m->mode == IRQ_MODE_LOWEST || (m->redirect && m->mode == IRQ_MODE_FIXED);
}

#endif
