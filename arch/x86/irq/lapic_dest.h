/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Who is meant by an interrupt message (SDM vol. 3, "Determining IPI Destination" and "Logical
 * Destination Mode in x2APIC Mode").
 *
 * Pure functions of small copies, so that senders can ask without a lock.
 */
#ifndef STRATA_LAPIC_DEST_H
#define STRATA_LAPIC_DEST_H

#include "lapic.h"

/**
 * struct lapic_addr - under which names a local APIC listens
 * @id: x2APIC ID
 * @ldr: logical APIC ID: 32 bits in x2APIC mode, 8 bits else
 * @xid: xAPIC ID
 * @model: LAPIC_DFR_FLAT, LAPIC_DFR_CLUSTER, or another value that matches nothing
 * @x2apic: in x2APIC mode
 * @enabled: APIC base has it on
 * @sw_enabled: takes fixed and lowest-priority interrupts
 */
struct lapic_addr {
	u32 id;
	u32 ldr;
	u8 xid;
	u8 model;
	bool x2apic;
	bool enabled;
	bool sw_enabled;
};

/* lapic_addr(): the names as they are now; changes are announced by LAPIC_DID_MAP. */
struct lapic_addr lapic_addr(const struct lapic *l);

static inline bool lapic_addr_same(const struct lapic_addr *a, const struct lapic_addr *b)
{
	return a->id == b->id && a->ldr == b->ldr && a->xid == b->xid && a->model == b->model &&
	       a->x2apic == b->x2apic && a->enabled == b->enabled && a->sw_enabled == b->sw_enabled;
}

/* lapic_x2_ldr(): logical x2APIC ID of an x2APIC ID. */
static inline u32 lapic_x2_ldr(u32 id)
{
	return (id >> 4) << 16 | 1u << (id & 0xf);
}

/**
 * lapic_match() - does a message address this local APIC
 * @a: the local APIC
 * @m: the message
 * @self: it is the sender of the message (shorthands)
 */
bool lapic_match(const struct lapic_addr *a, const struct irq_msg *m, bool self);

/**
 * lapic_takes() - would a local APIC that was addressed accept the message
 * @a: the local APIC
 * @m: the message
 *
 * Without the software enable only NMI, SMI, INIT, SIPI and ExtINT are.
 */
static inline bool lapic_takes(const struct lapic_addr *a, const struct irq_msg *m)
{
	if (m->mode == IRQ_MODE_FIXED || m->mode == IRQ_MODE_LOWEST)
		return a->sw_enabled;
	return a->enabled && m->mode != IRQ_MODE_RESERVED;
}

/**
 * struct lapic_rival - a candidate of lowest-priority arbitration
 * @vcpu: the caller's name for it
 * @prio: processor priority (PPR)
 */
struct lapic_rival {
	u32 vcpu;
	u8 prio;
};

/**
 * lapic_arbitrate() - lowest-priority delivery
 * @r: those that match and take the message
 * @n: how many, at least 1
 * @vector: vector of the message
 *
 * The lowest processor priority class wins. Equals share vectors evenly and always the same way, so
 * that an interrupt stays with one vCPU while priorities do not change.
 *
 * Return: index into @r.
 */
unsigned int lapic_arbitrate(const struct lapic_rival *r, unsigned int n, u8 vector);

#endif
