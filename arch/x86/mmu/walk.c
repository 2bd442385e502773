// SPDX-License-Identifier: GPL-2.0
/*
 * The walker of guest page tables, bound to a vCPU and to guest memory. The walk itself is in
 * walk_pure.c.
 */
#include "../backend.h"
#include "nested_walk.h"

#include <linux/errno.h>
#include <linux/mm.h>
#include <linux/nospec.h>
#include <linux/uaccess.h>

void mmu_mode_changed(struct vcpu *v)
{
	struct vcpu_mmu *mmu = &v->mmu;

	/*
	 * Called for every CR3, and the rest of the mode is compared at each walk: only CPUID needs
	 * the call.
	 */
	if (mmu->mode_features != v->cpu.features || mmu->mode_maxphyaddr != v->cpu.maxphyaddr)
		mmu->mode_valid = false;
}

static noinline void mode_rebuild(struct vcpu *v, unsigned long cr0, unsigned long cr4)
{
	struct walk_cpuid cpuid = {
		.maxphyaddr = v->cpu.maxphyaddr,
		.gbpages = guest_has(v, GUEST_GBPAGES),
		.amd = guest_has(v, GUEST_AMD),
	};

	walk_mode_init(&v->mmu.mode, cr0, cr4, v->efer, &cpuid);
	v->mmu.mode_cr0 = cr0;
	v->mmu.mode_cr4 = cr4;
	v->mmu.mode_efer = v->efer;
	v->mmu.mode_features = v->cpu.features;
	v->mmu.mode_maxphyaddr = v->cpu.maxphyaddr;
	v->mmu.mode_valid = true;
}

static const struct walk_mode *walk_mode(struct vcpu *v)
{
	unsigned long cr0 = vcpu_cr0(v), cr4 = vcpu_cr4(v);
	struct vcpu_mmu *mmu = &v->mmu;

	if (unlikely(!mmu->mode_valid || mmu->mode_cr0 != cr0 || mmu->mode_cr4 != cr4 ||
		     mmu->mode_efer != v->efer))
		mode_rebuild(v, cr0, cr4);
	return &mmu->mode;
}

struct walk_ctx {
	struct vcpu *v;
	const struct virt_slot *slot;
};

static int walk_read(void *ctx, u64 gpa, u64 *entry, unsigned int size)
{
	struct walk_ctx *c = ctx;
	const void __user *hva = walk_hva(c->v, gpa, &c->slot);

	return hva ? walk_get(hva, entry, size) : -EFAULT;
}

static int walk_cmpxchg(void *ctx, u64 gpa, u64 old, u64 new, unsigned int size)
{
	struct walk_ctx *c = ctx;

	if (walk_in_rom(c->v, gpa, &c->slot))
		return 0;
	/* Little endian: the low half of both comes first. */
	return virt_guest_cmpxchg(&c->v->virt, gpa, &old, &new, size);
}

static const struct walk_ops walk_ops = { .read = walk_read, .cmpxchg = walk_cmpxchg };
static const struct walk_ops peek_ops = { .read = walk_read };

/* What the mode needs of the registers; PAE's pointers apart. */
static void walk_registers(struct vcpu *v, const struct walk_mode *mode, struct walk_in *in)
{
	if (mode->paging != WALK_NO_PAGING)
		in->cr3 = vcpu_cr3(v);
	if (mode->smap)
		in->ac = vcpu_rflags(v) & BIT(18);
	if (mode->pke)
		in->pkru = v->cpu.pkru;
}

static noinline int walk_l2(struct nested_reader *r, const struct walk_mode *mode,
			    struct walk_in *in, struct walk *w)
{
	struct vcpu_nested *n = &r->v->mmu.nested;
	int ret = nested_walk_linear(r, mode, in, w);

	if (ret != WALK_NESTED_FAULT || r->peek)
		return ret;
	n->fault = r->fault;
	n->fault_pending = true;
	virt_request(&r->v->virt, REQ_NESTED_FAULT);
	return ret;
}

static int walk_with(struct vcpu *v, u64 linear, u32 access, const struct walk_ops *ops,
		     struct walk *w)
{
	const struct walk_mode *mode = walk_mode(v);
	struct walk_in in = { .linear = linear, .access = access, .pdptr = v->pdptr };
	struct walk_ctx ctx = { .v = v };

	walk_registers(v, mode, &in);
	if (unlikely(v->mmu.nested.paging)) {
		struct nested_reader r = { .v = v, .peek = !ops->cmpxchg };

		return walk_l2(&r, mode, &in, w);
	}
	if (mode->paging == WALK_PAE)
		vcpu_need_reg(v, REG_PDPTR);
	return walk_tables(mode, &in, ops, &ctx, w);
}

int mmu_walk(struct vcpu *v, u64 linear, u32 access, struct walk *w)
{
	return walk_with(v, linear, access, &walk_ops, w);
}

int mmu_walk_peek(struct vcpu *v, u64 linear, u32 access, struct walk *w)
{
	return walk_with(v, linear, access, &peek_ops, w);
}

/*
 * Fetching an instruction is on the path of every exit whose length the CPU does not report, so it
 * is written for few instructions: user access is opened once, and closed only to look up another
 * slot.
 */
struct fetch {
	struct vcpu *v;
	const struct virt_slot *slot;
};

/*
 * User access is open, before and after; if @gpa is nowhere it is closed, and the return is false.
 */
static __always_inline bool fetch_hva(struct fetch *f, u64 gpa, const void __user **at)
{
	u64 gfn = gpa >> PAGE_SHIFT;

	if (unlikely(!virt_slot_has(f->slot, gfn))) {
		user_access_end();
		f->slot = virt_vcpu_slot(&f->v->virt, gfn);
		if (!f->slot || !user_access_begin((const void __user *)f->slot->hva, 1))
			return false;
	}
	gfn = array_index_nospec(gfn - f->slot->base_gfn, f->slot->npages);
	*at = (const void __user *)(f->slot->hva + (gfn << PAGE_SHIFT) + offset_in_page(gpa));
	return true;
}

/*
 * From @table on to the page of an address. @wide is constant: 8-byte entries. User access is open
 * and stays so if the return is 0; it is closed with -EAGAIN.
 */
static __always_inline int fetch_walk(struct fetch *f, const struct walk_mode *m, u64 table,
				      u64 linear, bool wide, u64 *gpa)
{
	const unsigned int bits = wide ? 9 : 10, size = wide ? 8 : 4;
	unsigned int shift = PAGE_SHIFT + bits * (m->levels - 1);
	u64 mask, entry;

	for (;; shift -= bits) {
		const void __user *at;

		if (!fetch_hva(f, (table & m->addr) + (linear >> shift & ((1U << bits) - 1)) * size,
			       &at))
			return -EAGAIN;
		if (wide)
			unsafe_get_user(entry, (const u64 __user *)at, fault);
		else
			unsafe_get_user(entry, (const u32 __user *)at, fault);
		if (!(entry & 1))
			goto fault;
		if (shift == PAGE_SHIFT || ((entry & BIT(7)) && (wide || m->pse)))
			break;
		table = entry;
	}
	/* 4M pages above 4G are left to the slow way. */
	if (!wide && shift > PAGE_SHIFT && (entry & GENMASK(20, 13)))
		goto fault;
	mask = (1ULL << shift) - 1;
	*gpa = (entry & m->addr & ~mask) | (linear & mask);
	return 0;
fault:
	user_access_end();
	return -EAGAIN;
}

/* @len is 1..16: at most two loads, which overlap. User access is open. Return: 0, -EAGAIN. */
static __always_inline int fetch_copy(void *buf, const void __user *p, unsigned int len)
{
	u64 chunk;
	u8 byte;

	if (likely(len >= 8)) {
		unsafe_get_user(chunk, (const u64 __user *)p, fault);
		memcpy(buf, &chunk, sizeof(chunk));
		unsafe_get_user(chunk, (const u64 __user *)(p + len - 8), fault);
		memcpy(buf + len - 8, &chunk, sizeof(chunk));
		return 0;
	}
	while (len--) {
		unsafe_get_user(byte, (const u8 __user *)(p + len), fault);
		((u8 *)buf)[len] = byte;
	}
	return 0;
fault:
	return -EAGAIN;
}

/* Where the walk starts. False: nowhere. */
static __always_inline bool fetch_start(struct vcpu *v, const struct walk_mode *m, u64 linear,
					u64 *table)
{
	if (m->paging == WALK_PAE) {
		vcpu_need_reg(v, REG_PDPTR);
		*table = v->pdptr[linear >> 30];
		return *table & 1;
	}
	*table = m->paging == WALK_NO_PAGING ? linear : vcpu_cr3(v);
	return true;
}

/* The same in L2 under L1's nested paging: two walks in one, which are slow anyway. */
static noinline int fetch_in_l2(struct vcpu *v, const struct walk_mode *m, u64 linear, void *buf,
				unsigned int len)
{
	struct walk_in in = { .linear = linear, .access = ACCESS_FETCH };
	struct nested_reader r = { .v = v, .peek = true };
	struct walk w;

	walk_registers(v, m, &in);
	if (backend_call(cpl)(v) == 3)
		in.access |= ACCESS_USER;
	if (nested_walk_linear(&r, m, &in, &w) ||
	    virt_guest_read_nofault(&v->virt, w.gpa, buf, len))
		return -EAGAIN;
	return 0;
}

static int fetch_in_page(struct vcpu *v, u64 linear, void *buf, unsigned int len)
{
	const struct walk_mode *m = walk_mode(v);
	struct fetch f = { .v = v };
	const void __user *p;
	u64 gpa, table;
	int ret = 0;

	if (unlikely(v->mmu.nested.paging))
		return fetch_in_l2(v, m, linear, buf, len);
	if (m->paging != WALK_LONG)
		linear = (u32)linear;
	if (!fetch_start(v, m, linear, &table))
		return -EAGAIN;
	gpa = table;
	if (m->paging != WALK_NO_PAGING)
		table &= m->addr;
	f.slot = virt_vcpu_slot(&v->virt, table >> PAGE_SHIFT);
	if (!f.slot || !user_access_begin((const void __user *)f.slot->hva, 1))
		return -EAGAIN;
	if (likely(m->paging >= WALK_PAE))
		ret = fetch_walk(&f, m, table, linear, true, &gpa);
	else if (m->paging == WALK_32BIT)
		ret = fetch_walk(&f, m, table, linear, false, &gpa);
	if (ret)
		return ret;
	if (!fetch_hva(&f, gpa, &p))
		return -EAGAIN;
	ret = fetch_copy(buf, p, len);
	user_access_end();
	return ret;
}

int mmu_fetch_nofault(struct vcpu *v, u64 linear, void *buf, unsigned int len)
{
	unsigned int first = min_t(unsigned int, len, PAGE_SIZE - offset_in_page(linear));
	int ret;

	if (WARN_ON_ONCE(len > 16))
		return -EAGAIN;
	pagefault_disable();
	ret = fetch_in_page(v, linear, buf, first);
	if (!ret && unlikely(first < len))
		ret = fetch_in_page(v, linear + first, buf + first, len - first);
	pagefault_enable();
	return ret;
}

/* A walk may have set the A bit, see backend_caps. */
u64 mmu_pdptr_rsvd(const struct vcpu *v)
{
	return walk_pdptr_rsvd(v->cpu.maxphyaddr) & ~(backend_caps.pdptes_walked ? BIT_ULL(5) : 0);
}

int mmu_load_pdptrs(struct vcpu *v, u64 cr3)
{
	u64 rsvd = mmu_pdptr_rsvd(v);
	u64 pdptr[4] = { };
	unsigned int i;

	if (unlikely(v->mmu.nested.paging)) {
		struct mmu_nested_fault f;
		u64 gpa;

		/*
		 * The CPU would read them when it needs them: what is not to be had now is no
		 * error.
		 */
		if (!mmu_nested_translate(v, cr3 & GENMASK_ULL(31, 5), 0, &gpa, &f))
			virt_guest_read(&v->virt, gpa, pdptr, sizeof(pdptr));
	} else if (virt_guest_read(&v->virt, cr3 & GENMASK_ULL(31, 5), pdptr, sizeof(pdptr))) {
		return 1;
	}
	for (i = 0; i < ARRAY_SIZE(pdptr); i++)
		if ((pdptr[i] & 1) && (pdptr[i] & rsvd))
			return 1;
	memcpy(v->pdptr, pdptr, sizeof(pdptr));
	v->regs_avail |= BIT(REG_PDPTR);
	v->regs_dirty |= BIT(REG_PDPTR);
	return 0;
}
