// SPDX-License-Identifier: GPL-2.0
/*
 * Which kinds of exits met which states of the event queue; see torture.h.
 */
#include <stdio.h>
#include <string.h>

#include "../../../../include/uapi/linux/strata.h"
#include "torture.h"

static const char *const columns[NR_COLS] = {
	"idle", "irq", "nmi", "exc", "soft", "pending", "stash", "nmi+", "masked", "held", "triple", "shadow", "smi", "smm",
	"start", "L1's",
};

static const enum cover_column of_kind[] = {
	[STRATA_EVENT_INTERRUPT] = COL_INTERRUPT,
	[STRATA_EVENT_NMI] = COL_NMI,
	[STRATA_EVENT_EXCEPTION] = COL_EXCEPTION,
	[STRATA_EVENT_SOFT_INT] = COL_SOFT,
	[STRATA_EVENT_SOFT_EXCEPTION] = COL_SOFT,
	[STRATA_EVENT_PRIV_EXCEPTION] = COL_SOFT,
};

static u64 *row_of(struct coverage *c, u32 kind)
{
	unsigned int i;

	for (i = 0; i < c->rows; i++)
		if (c->kind[i] == kind)
			return c->count[i];
	REQUIRE(c->rows < COVER_ROWS);
	c->kind[c->rows] = kind;
	return c->count[c->rows++];
}

static const u64 *find_row(const struct coverage *c, u32 kind)
{
	static const u64 none[NR_COLS];
	unsigned int i;

	for (i = 0; i < c->rows; i++)
		if (c->kind[i] == kind)
			return c->count[i];
	return none;
}

u32 cover_columns(const struct kvm_vcpu_events *e)
{
	struct strata_events s;
	u32 set = 0;

	memcpy(&s, e->reserved, sizeof(s));
	if (s.delivering_kind && s.delivering_kind <= STRATA_EVENT_PRIV_EXCEPTION)
		set |= 1u << of_kind[s.delivering_kind];
	set |= (u32)!!e->exception.pending << COL_PENDING;
	set |= (u32)!!(s.flags & STRATA_EVENTS_STASH) << COL_STASH;
	set |= (u32)!!e->nmi.pending << COL_NMI_PENDING;
	set |= (u32)!!e->nmi.masked << COL_MASKED;
	set |= (u32)!!s.pending_dbg << COL_HELD;
	set |= (u32)!!e->triple_fault.pending << COL_TRIPLE;
	set |= (u32)!!e->interrupt.shadow << COL_SHADOW;
	set |= (u32)!!e->smi.pending << COL_SMI;
	set |= (u32)!!e->smi.smm << COL_SMM;
	set |= (u32)(e->smi.latched_init || (e->flags & KVM_VCPUEVENT_VALID_SIPI_VECTOR))
	       << COL_START;
	return set ?: 1u << COL_IDLE;
}

void cover_note(struct coverage *c, u32 kind, u32 set)
{
	u64 *row = row_of(c, kind);
	unsigned int i;

	for (i = 0; i < NR_COLS; i++)
		row[i] += set >> i & 1;
}

bool cover_lacks(const struct coverage *c, u32 kind, u32 set)
{
	const u64 *row = find_row(c, kind);
	unsigned int i;

	for (i = 0; i < NR_COLS; i++)
		if ((set >> i & 1) && !row[i])
			return true;
	return false;
}

static bool on_intel(void)
{
	u32 r[4];

	cpuid(0, 0, r);
	return r[1] == 0x756e6547;	/* "Genu" */
}

void cover_print(const struct coverage *c)
{
	char line[512];
	unsigned int i, j, n;

	n = snprintf(line, sizeof(line), "%-13s", "exit");
	for (j = 0; j < NR_COLS; j++)
		n += snprintf(line + n, sizeof(line) - n, " %7s", columns[j]);
	tap_note("%s", line);
	for (i = 0; i < c->rows; i++) {
		bool user = c->kind[i] & COVER_USER;

		n = snprintf(line, sizeof(line), user ? "%s user %-5u" : "%s cpu %#-6x", c->kind[i] & COVER_L2 ? "L2" : "  ",
			     c->kind[i] & 0xffff);
		for (j = 0; j < NR_COLS; j++)
			n += snprintf(line + n, sizeof(line) - n, " %7llu",
				      (unsigned long long)c->count[i][j]);
		tap_note("%s", line);
	}
}

/* The host's interrupts and NMIs come when they like. */
static bool any_time(u32 kind)
{
	kind &= ~COVER_L2;
	return on_intel() ? kind == 1 : kind == 0x60 || kind == 0x61;
}

unsigned int cover_missing(const struct coverage reached[2], const struct coverage *c, bool report)
{
	unsigned int i, j, n = 0;

	for (i = 0; i < reached->rows; i++) {
		const u64 *row = find_row(c, reached->kind[i]),
			  *again = find_row(&reached[1], reached->kind[i]);

		for (j = 0; j < NR_COLS; j++) {
			if (!reached->count[i][j] || !again[j] || row[j] ||
			    any_time(reached->kind[i]))
				continue;
			n++;
			if (report)
				tap_fail(__FILE__, __LINE__, "no point at exit %#x with the queue's state %s, which the programs reach",
					 reached->kind[i], columns[j]);
		}
	}
	return n;
}
