// SPDX-License-Identifier: GPL-2.0
/*
 * The walker of guest page tables, bound to a vCPU and to guest memory. The walk itself is in walk_pure.c.
 */
#include "../strata.h"

#include <linux/errno.h>
#include <linux/mm.h>
#include <linux/uaccess.h>

void mmu_mode_changed(struct vcpu *v)
{
	v->mmu.mode_valid = false;
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
	v->mmu.mode_valid = true;
}

static const struct walk_mode *walk_mode(struct vcpu *v)
{
	unsigned long cr0 = vcpu_cr0(v), cr4 = vcpu_cr4(v);
	struct vcpu_mmu *mmu = &v->mmu;

	if (unlikely(!mmu->mode_valid || mmu->mode_cr0 != cr0 || mmu->mode_cr4 != cr4 || mmu->mode_efer != v->efer))
		mode_rebuild(v, cr0, cr4);
	return &mmu->mode;
}

/* Userspace address of guest memory; a walk stays in one slot mostly, which @slot remembers. */
static void __user *walk_hva(struct vcpu *v, u64 gpa, const struct virt_slot **slot)
{
	u64 gfn = gpa >> PAGE_SHIFT;

	if (!*slot || !virt_slot_has(*slot, gfn)) {
		*slot = virt_vcpu_slot(&v->virt, gfn);
		if (!*slot)
			return NULL;
	}
	return (void __user *)(virt_slot_hva(*slot, gfn) + offset_in_page(gpa));
}

static __always_inline int walk_get(const void __user *hva, u64 *entry, unsigned int size)
{
	u32 half;

	if (size == 8)
		return __get_user(*entry, (const u64 __user *)hva);
	if (__get_user(half, (const u32 __user *)hva))
		return -EFAULT;
	*entry = half;
	return 0;
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

	/* Little endian: the low half of both comes first. */
	return virt_guest_cmpxchg(&c->v->virt, gpa, &old, &new, size);
}

static const struct walk_ops walk_ops = { .read = walk_read, .cmpxchg = walk_cmpxchg };
static const struct walk_ops peek_ops = { .read = walk_read };

static int walk_with(struct vcpu *v, u64 linear, u32 access, const struct walk_ops *ops, struct walk *w)
{
	const struct walk_mode *mode = walk_mode(v);
	struct walk_in in = { .linear = linear, .access = access, .pdptr = v->pdptr };
	struct walk_ctx ctx = { .v = v };

	if (mode->paging == WALK_PAE)
		vcpu_need_reg(v, REG_PDPTR);
	else if (mode->paging != WALK_NO_PAGING)
		in.cr3 = vcpu_cr3(v);
	if (mode->smap)
		in.ac = vcpu_rflags(v) & BIT(18);
	if (mode->pke)
		in.pkru = v->cpu.pkru;
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
 * Where the bytes of an instruction are that the CPU has just fetched. Page faults disabled. Return: 0, -EAGAIN.
 */
static int fetch_translate(struct vcpu *v, const struct walk_mode *m, u64 linear, const struct virt_slot **slot, u64 *gpa)
{
	unsigned int bits = m->paging == WALK_32BIT ? 10 : 9;
	unsigned int size = m->paging == WALK_32BIT ? 4 : 8;
	unsigned int shift = 12 + bits * m->levels;
	u64 table, entry, mask;
	int level;

	if (m->paging == WALK_PAE) {
		vcpu_need_reg(v, REG_PDPTR);
		table = v->pdptr[linear >> 30 & 3];
		if (!(table & 1))
			return -EAGAIN;
	} else {
		table = vcpu_cr3(v);
	}
	for (level = m->levels; ; level--) {
		const void __user *hva;

		shift -= bits;
		hva = walk_hva(v, (table & m->addr) + (linear >> shift & ((1U << bits) - 1)) * size, slot);
		if (!hva || walk_get(hva, &entry, size) || !(entry & 1))
			return -EAGAIN;
		if (level == 1 || ((entry & BIT(7)) && (size == 8 || m->pse)))
			break;
		table = entry;
	}
	/* 4M pages above 4G and what no CPU would have walked are left to the slow way. */
	if (entry & m->rsvd_leaf[level] || (size == 4 && level == 2 && (entry & GENMASK(20, 13))))
		return -EAGAIN;
	mask = (1ULL << shift) - 1;
	*gpa = (entry & m->addr & ~mask) | (linear & mask);
	return 0;
}

static int fetch_in_page(struct vcpu *v, u64 linear, void *buf, unsigned int len)
{
	const struct walk_mode *m = walk_mode(v);
	const struct virt_slot *slot = NULL;
	const void __user *hva;
	u64 gpa = linear;

	if (m->paging != WALK_LONG)
		linear = (u32)linear;
	if (m->paging == WALK_NO_PAGING)
		gpa = linear;
	else if (fetch_translate(v, m, linear, &slot, &gpa))
		return -EAGAIN;
	hva = walk_hva(v, gpa, &slot);
	if (!hva || __copy_from_user_inatomic(buf, hva, len))
		return -EAGAIN;
	return 0;
}

int mmu_fetch_nofault(struct vcpu *v, u64 linear, void *buf, unsigned int len)
{
	unsigned int first = min_t(unsigned int, len, PAGE_SIZE - offset_in_page(linear));
	int ret;

	pagefault_disable();
	ret = fetch_in_page(v, linear, buf, first);
	if (!ret && unlikely(first < len))
		ret = fetch_in_page(v, linear + first, buf + first, len - first);
	pagefault_enable();
	return ret;
}

int mmu_load_pdptrs(struct vcpu *v, u64 cr3)
{
	u64 rsvd = walk_pdptr_rsvd(v->cpu.maxphyaddr);
	u64 pdptr[4];
	unsigned int i;

	if (virt_guest_read(&v->virt, cr3 & GENMASK_ULL(31, 5), pdptr, sizeof(pdptr)))
		return 1;
	for (i = 0; i < ARRAY_SIZE(pdptr); i++)
		if ((pdptr[i] & 1) && (pdptr[i] & rsvd))
			return 1;
	memcpy(v->pdptr, pdptr, sizeof(pdptr));
	v->regs_avail |= BIT(REG_PDPTR);
	v->regs_dirty |= BIT(REG_PDPTR);
	return 0;
}
