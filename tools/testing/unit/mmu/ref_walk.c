// SPDX-License-Identifier: GPL-2.0
/*
 * The reference walker; see ref_walk.h.
 */
#include "ref_walk.h"

#include <string.h>

#define B(n) (1ull << (n))

/* Entries used by a walk, root first */
struct trail {
	int nr;
	u64 at[5];
	u64 entry[5];
	int size;
};

static bool bits_set(u64 entry, int high, int low)
{
	int i;

	for (i = low; i <= high; i++)
		if (entry & B(i))
			return true;
	return false;
}

static u64 bits_of(u64 entry, int high, int low)
{
	u64 result = 0;
	int i;

	for (i = low; i <= high; i++)
		result |= entry & B(i);
	return result;
}

static bool use(struct trail *t, const struct mem *mem, u64 at)
{
	u64 entry = 0;

	if (at > MEM_SIZE - (u64)t->size)
		return false;
	memcpy(&entry, &mem->byte[at], t->size);
	t->at[t->nr] = at;
	t->entry[t->nr++] = entry;
	return true;
}

static struct ref_result fault(const struct ref_cpu *c, const struct ref_access *a, u32 extra)
{
	bool nx_on = (c->efer & B(11)) && (c->cr4 & B(5));
	bool smep = c->cr4 & B(20);
	struct ref_result r = { .outcome = REF_PF, .error = extra };

	if (a->write)
		r.error += 2;
	if (a->user)
		r.error += 4;
	if (a->fetch && (nx_on || smep))
		r.error += 16;
	return r;
}

/* The page was found: are all rights there? */
static struct ref_result rights(const struct ref_cpu *c, const struct ref_access *a,
				const struct trail *t, u64 gpa, int level)
{
	struct ref_result r = { .outcome = REF_OK, .gpa = gpa, .level = level };
	bool wp = c->cr0 & B(16), long_mode = c->efer & B(10);
	bool user_page = true, rw = true, nx = false, bad = false, pk = false;
	int i;

	for (i = 0; i < t->nr; i++) {
		if (!(t->entry[i] & B(2)))
			user_page = false;
		if (!(t->entry[i] & B(1)))
			rw = false;
		if (t->size == 8 && (c->efer & B(11)) && (t->entry[i] & B(63)))
			nx = true;
	}
	if (a->user) {
		if (!user_page)
			bad = true;
		if (a->write && !rw)
			bad = true;
		if (a->fetch && nx)
			bad = true;
	} else if (a->fetch) {
		if (nx)
			bad = true;
		if (user_page && (c->cr4 & B(20)))
			bad = true;
	} else {
		if (a->write && wp && !rw)
			bad = true;
		if (user_page && (c->cr4 & B(21)) && (a->implicit || !c->ac))
			bad = true;
	}
	/*
	 * A supervisor write that is a fetch at once does not exist, but the walker is asked for
	 * either.
	 */
	if (!a->user && a->fetch && a->write && wp && !rw)
		bad = true;
	if (long_mode && (c->cr4 & B(22)) && user_page && !a->fetch) {
		int key = (t->entry[t->nr - 1] >> 59) & 15;
		bool ad = c->pkru & (1u << (2 * key)), wd = c->pkru & (2u << (2 * key));

		if (ad || (a->write && wd && (a->user || wp)))
			pk = true;
	}
	if (bad || pk)
		return fault(c, a, pk ? 33 : 1);
	r.writable = rw || (!a->user && !wp);
	r.user = user_page;
	r.exec = !nx;
	return r;
}

static void mark(struct trail *t, struct mem *mem, bool write)
{
	int i;

	for (i = 0; i < t->nr; i++) {
		u64 entry = t->entry[i] | B(5);

		if (i == t->nr - 1 && write)
			entry |= B(6);
		memcpy(&mem->byte[t->at[i]], &entry, t->size);
	}
}

static struct ref_result walk_32(const struct ref_cpu *c, const struct ref_access *a,
				 const struct mem *mem, struct trail *t)
{
	struct ref_result none = { .outcome = REF_NO_MEMORY };
	u32 lin = a->linear;
	u64 e;

	t->size = 4;
	if (!use(t, mem, bits_of(c->cr3, 31, 12) + (lin >> 22) * 4))
		return none;
	e = t->entry[0];
	if (!(e & 1))
		return fault(c, a, 0);
	if ((e & B(7)) && (c->cr4 & B(4))) {
		int m = c->maxphyaddr < 40 ? c->maxphyaddr : 40;

		if (bits_set(e, 21, m - 32 + 13))
			return fault(c, a, 1 + 8);
		return rights(c, a, t,
			      bits_of(e, 31, 22) + (bits_of(e, 20, 13) >> 13 << 32) +
				      (lin & 0x3fffff),
			      2);
	}
	if (!use(t, mem, bits_of(e, 31, 12) + ((lin >> 12) & 0x3ff) * 4))
		return none;
	e = t->entry[1];
	if (!(e & 1))
		return fault(c, a, 0);
	return rights(c, a, t, bits_of(e, 31, 12) + (lin & 0xfff), 1);
}

/* Bits that no entry with 8 bytes may have */
static bool bad_high(const struct ref_cpu *c, u64 e, bool pae)
{
	if (bits_set(e, pae ? 62 : 51, c->maxphyaddr))
		return true;
	return (e & B(63)) && !(c->efer & B(11));
}

static struct ref_result walk_pae(const struct ref_cpu *c, const struct ref_access *a,
				  const struct mem *mem, struct trail *t)
{
	struct ref_result none = { .outcome = REF_NO_MEMORY };
	int top = c->maxphyaddr - 1;
	u32 lin = a->linear;
	u64 e;

	t->size = 8;
	if (!(c->pdptr[lin >> 30] & 1))
		return fault(c, a, 0);
	if (!use(t, mem, bits_of(c->pdptr[lin >> 30], top, 12) + ((lin >> 21) & 511) * 8))
		return none;
	e = t->entry[0];
	if (!(e & 1))
		return fault(c, a, 0);
	if (bad_high(c, e, true) || ((e & B(7)) && bits_set(e, 20, 13)))
		return fault(c, a, 9);
	if (e & B(7))
		return rights(c, a, t, bits_of(e, top, 21) + (lin & 0x1fffff), 2);
	if (!use(t, mem, bits_of(e, top, 12) + ((lin >> 12) & 511) * 8))
		return none;
	e = t->entry[1];
	if (!(e & 1))
		return fault(c, a, 0);
	if (bad_high(c, e, true))
		return fault(c, a, 9);
	return rights(c, a, t, bits_of(e, top, 12) + (lin & 0xfff), 1);
}

static struct ref_result walk_long(const struct ref_cpu *c, const struct ref_access *a,
				   const struct mem *mem, struct trail *t)
{
	static const int shift[] = { 48, 39, 30, 21, 12 };
	struct ref_result none = { .outcome = REF_NO_MEMORY };
	int top = c->maxphyaddr - 1, i;
	u64 at = bits_of(c->cr3, top, 12);

	t->size = 8;
	for (i = c->cr4 & B(12) ? 0 : 1; i < 5; i++) {
		bool page = false;
		u64 e;

		if (!use(t, mem, at + ((a->linear >> shift[i]) & 511) * 8))
			return none;
		e = t->entry[t->nr - 1];
		if (!(e & 1))
			return fault(c, a, 0);
		if (bad_high(c, e, false))
			return fault(c, a, 9);
		if (i <= 1 && ((e & B(7)) || (c->amd && (e & B(8)))))
			return fault(c, a, 9);
		if (i == 2 && (e & B(7))) {
			if (!c->gbpages || bits_set(e, 29, 13))
				return fault(c, a, 9);
			page = true;
		}
		if (i == 3 && (e & B(7))) {
			if (bits_set(e, 20, 13))
				return fault(c, a, 9);
			page = true;
		}
		if (page || i == 4)
			return rights(c, a, t,
				      bits_of(e, top, shift[i]) + (a->linear & (B(shift[i]) - 1)),
				      5 - i);
		at = bits_of(e, top, 12);
	}
	return none;
}

struct ref_result ref_walk(const struct ref_cpu *c, const struct ref_access *a, struct mem *mem)
{
	struct trail t = { 0 };
	struct ref_result r;

	if (!(c->cr0 & B(31))) {
		r = (struct ref_result) { .gpa = (u32)a->linear, .level = 1, .writable = true, .user = true, .exec = true };
		return r;
	}
	if (!(c->cr4 & B(5)))
		r = walk_32(c, a, mem, &t);
	else if (!(c->efer & B(10)))
		r = walk_pae(c, a, mem, &t);
	else
		r = walk_long(c, a, mem, &t);
	if (r.outcome == REF_OK)
		mark(&t, mem, a->write);
	return r;
}
