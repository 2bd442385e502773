// SPDX-License-Identifier: GPL-2.0
/*
 * L2 on L1's tables: entering and leaving, contexts, and the two steps of a translation done by
 * software.
 *
 * A context is what tags translations in L1's CPU: an ASID with the tables it was used with. L1 may
 * use one without a flush as long as it has not flushed it; the first use of an ASID, or of other
 * tables under it, counts as a flush, as L1 may rely on the CPU holding nothing then.
 */
#include "nested_walk.h"
#include "shadow.h"

#include <linux/errno.h>
#include <linux/io.h>
#include <linux/mm.h>

/* ---- contexts ---- */

static bool same_context(const struct nested_context *a, const struct nested_context *b)
{
	return a->asid == b->asid && a->format == b->format && a->root == b->root &&
	       a->cr4 == b->cr4 && a->efer == b->efer && a->pat == b->pat;
}

/* Remember a context. Return: it was known, so what the CPU has of it may be used. */
static bool use_context(struct vcpu_nested *n, const struct nested_context *c)
{
	unsigned int i;

	for (i = 0; i < NESTED_CONTEXTS; i++) {
		if (!same_context(&n->known[i], c))
			continue;
		n->last = i;
		return true;
	}
	/* One ASID has one set of tables at a time. */
	for (i = 0; i < NESTED_CONTEXTS; i++)
		if (n->known[i].asid == c->asid)
			n->known[i].asid = 0;
	n->victim = (n->victim + 1) % NESTED_CONTEXTS;
	n->known[n->victim] = *c;
	n->last = n->victim;
	return false;
}

void mmu_nested_flush(struct vcpu *v)
{
	struct vcpu_nested *n = &v->mmu.nested;
	unsigned int i;

	for (i = 0; i < NESTED_CONTEXTS; i++)
		n->known[i].asid = 0;
	if (n->active && n->paging)
		shadow_flush_root(v);
}

void mmu_nested_flush_asid(struct vcpu *v, u32 asid)
{
	struct vcpu_nested *n = &v->mmu.nested;
	unsigned int i;

	for (i = 0; i < NESTED_CONTEXTS; i++)
		if (n->known[i].asid == asid)
			n->known[i].asid = 0;
	if (n->active && n->paging)
		shadow_flush_root(v);
}

void mmu_nested_flush_addr(struct vcpu *v, unsigned int context)
{
	struct vcpu_nested *n = &v->mmu.nested;

	if (n->active && n->paging && n->last == context)
		shadow_flush_root(v);
	else
		n->known[context].compare = true;
}

/* ---- in and out ---- */

static void update_mode(struct vcpu *v, const struct mmu_nested_conf *conf)
{
	struct vcpu_nested *n = &v->mmu.nested;
	struct walk_cpuid cpuid = {
		.maxphyaddr = v->cpu.maxphyaddr,
		.gbpages = guest_has(v, GUEST_GBPAGES),
		.amd = guest_has(v, GUEST_AMD),
	};

	if (n->mode.limit && n->mode_cr4 == conf->cr4 && n->mode_efer == conf->efer &&
	    n->mode_features == v->cpu.features && n->mode_maxphyaddr == v->cpu.maxphyaddr)
		return;
	nested_mode_init(&n->mode, conf->cr4, conf->efer, &cpuid);
	n->mode_cr4 = conf->cr4;
	n->mode_efer = conf->efer;
	n->mode_features = v->cpu.features;
	n->mode_maxphyaddr = v->cpu.maxphyaddr;
	/* CPUID is part of what the entries mean. */
	mmu_nested_flush(v);
}

static u64 own_root(struct vcpu *v)
{
	return __sme_set(page_to_phys(vcpu_vm(v)->mmu.root[v->virt.as_id]));
}

/* L1 uses nested paging: the shadow, at least its root. 0, -ENOMEM, -EOPNOTSUPP. */
static int enter_shadow(struct vcpu *v, const struct mmu_nested_conf *conf,
			struct nested_context *c)
{
	struct vcpu_nested *n = &v->mmu.nested;
	int ret;

	update_mode(v, conf);
	/* Guests are not offered more levels than the host has. */
	if (WARN_ON_ONCE(n->mode.walk.levels > vcpu_vm(v)->mmu.levels))
		return -EOPNOTSUPP;
	c->root = conf->root & n->mode.root;
	c->cr4 = conf->cr4;
	c->efer = conf->efer;
	c->pat = conf->pat;
	ret = shadow_create(v) ?: shadow_set_root(v, c->root, c->pat);
	if (!ret)
		v->mmu.root_hpa = __sme_set(__pa(n->root->table));
	return ret;
}

int mmu_nested_enter(struct vcpu *v, const struct mmu_nested_conf *conf)
{
	struct vcpu_nested *n = &v->mmu.nested;
	struct nested_context c = { .asid = conf->asid, .format = conf->format };
	bool known, paging = conf->format == NESTED_NPT;
	int ret;

	if (conf->format > NESTED_NPT)
		return -EOPNOTSUPP;
	if (paging) {
		ret = enter_shadow(v, conf, &c);
		if (ret)
			return ret;
	} else {
		v->mmu.root_hpa = own_root(v);
	}
	n->active = true;
	n->paging = paging;
	known = use_context(n, &c);
	if (paging && (!known || n->known[n->last].compare)) {
		n->known[n->last].compare = false;
		shadow_flush_root(v);
	}
	return !known;
}

unsigned int mmu_nested_context(const struct vcpu *v)
{
	return v->mmu.nested.last;
}

int mmu_nested_find(const struct vcpu *v, u32 asid)
{
	const struct vcpu_nested *n = &v->mmu.nested;
	unsigned int i;

	for (i = 0; i < NESTED_CONTEXTS; i++)
		if (n->known[i].asid == asid)
			return i;
	return -1;
}

void mmu_nested_leave(struct vcpu *v)
{
	v->mmu.nested.active = false;
	v->mmu.nested.paging = false;
	v->mmu.nested.fault_pending = false;
	v->mmu.root_hpa = own_root(v);
}

void mmu_nested_reset(struct vcpu *v)
{
	mmu_nested_flush(v);
	shadow_reset(vcpu_vm(v));
}

bool mmu_nested_paging(const struct vcpu *v)
{
	return v->mmu.nested.paging;
}

/* ---- L1's memory, for the walk of L1's tables ---- */

static int l1_read(void *ctx, u64 gpa, u64 *entry, unsigned int size)
{
	struct nested_reader *r = ctx;
	const void __user *hva = walk_hva(r->v, gpa, &r->slot);

	/* A table where no memory is has nothing in it. */
	*entry = 0;
	return hva ? walk_get(hva, entry, size) : 0;
}

static int l1_cmpxchg(void *ctx, u64 gpa, u64 old, u64 new, unsigned int size)
{
	struct nested_reader *r = ctx;

	if (walk_in_rom(r->v, gpa, &r->slot))
		return 0;
	return virt_guest_cmpxchg(&r->v->virt, gpa, &old, &new, size);
}

static const struct walk_ops l1_ops = { .read = l1_read, .cmpxchg = l1_cmpxchg };
static const struct walk_ops l1_peek_ops = { .read = l1_read };

int nested_walk_vcpu(struct nested_reader *r, u64 gpa, u32 access, struct walk *w,
		     struct walk_path *path)
{
	struct vcpu_nested *n = &r->v->mmu.nested;
	u64 root = n->known[n->last].root;

	return nested_walk(&n->mode, root, gpa, access, r->peek ? &l1_peek_ops : &l1_ops, r, w, path);
}

static int translate(struct nested_reader *r, u64 gpa, u32 access, u64 kind, u64 *l1_gpa,
		     struct mmu_nested_fault *f)
{
	struct walk_path path;
	struct walk w;
	int ret = nested_walk_vcpu(r, gpa, access, &w, &path);

	if (!ret)
		*l1_gpa = w.gpa;
	if (ret == 1)
		*f = (struct mmu_nested_fault) { .gpa = gpa, .error = w.error | kind };
	return ret;
}

int mmu_nested_translate(struct vcpu *v, u64 gpa, u32 access, u64 *l1_gpa,
			 struct mmu_nested_fault *f)
{
	struct nested_reader r = { .v = v };

	if (v->mmu.nested.paging)
		return translate(&r, gpa, access, NESTED_FAULT_FINAL, l1_gpa, f);
	*l1_gpa = gpa;
	return 0;
}

bool mmu_nested_take_fault(struct vcpu *v, struct mmu_nested_fault *f)
{
	struct vcpu_nested *n = &v->mmu.nested;

	if (!n->fault_pending)
		return false;
	n->fault_pending = false;
	*f = n->fault;
	return true;
}

/* ---- L2's memory, for the walk of L2's tables ---- */

/* Return: 0, 2 (nested page fault), -EFAULT. */
static int l2_to_l1(struct nested_reader *r, u64 gpa, u32 access, u64 kind, u64 *l1_gpa)
{
	int ret = translate(r, gpa, access, kind, l1_gpa, &r->fault);

	return ret == 1 ? WALK_NESTED_FAULT : ret;
}

/* The CPU treats every access to L2's tables as a write (AMD APM vol. 2, "Nested Table Walk"). */
static int l2_table(struct nested_reader *r, u64 gpa, u64 *l1_gpa)
{
	return l2_to_l1(r, gpa, ACCESS_WRITE, NESTED_FAULT_TABLE, l1_gpa);
}

static int l2_read(void *ctx, u64 gpa, u64 *entry, unsigned int size)
{
	struct nested_reader *r = ctx;
	const void __user *hva;
	u64 l1_gpa;
	int ret = l2_table(r, gpa, &l1_gpa);

	if (ret)
		return ret;
	hva = walk_hva(r->v, l1_gpa, &r->slot);
	return hva ? walk_get(hva, entry, size) : -EFAULT;
}

static int l2_cmpxchg(void *ctx, u64 gpa, u64 old, u64 new, unsigned int size)
{
	struct nested_reader *r = ctx;
	u64 l1_gpa;
	int ret = l2_table(r, gpa, &l1_gpa);

	if (ret || walk_in_rom(r->v, l1_gpa, &r->slot))
		return ret;
	return virt_guest_cmpxchg(&r->v->virt, l1_gpa, &old, &new, size);
}

static const struct walk_ops l2_ops = { .read = l2_read, .cmpxchg = l2_cmpxchg };
static const struct walk_ops l2_peek_ops = { .read = l2_read };

/*
 * One of PAE's four pointers. The CPU reads it at each walk under nested paging (AMD APM vol. 2,
 * "Legacy PAE Mode").
 */
static int l2_read_pdptr(struct nested_reader *r, const struct walk_mode *mode,
			 const struct walk_in *in, struct walk *w, u64 *pdptr)
{
	unsigned int i = in->linear >> 30 & 3;
	int ret = l2_read(r, (in->cr3 & GENMASK_ULL(31, 5)) + i * 8, &pdptr[i], 8);

	if (ret || !(pdptr[i] & 1) || !(pdptr[i] & mmu_pdptr_rsvd(r->v)))
		return ret;
	*w = (struct walk) { .error = walk_access_error(mode, in->access) | ACCESS_PRESENT | ACCESS_RSVD };
	return 1;
}

int nested_walk_linear(struct nested_reader *r, const struct walk_mode *mode, struct walk_in *in,
		       struct walk *w)
{
	u64 pdptr[4] = { };
	int ret;

	if (mode->paging == WALK_PAE) {
		ret = l2_read_pdptr(r, mode, in, w, pdptr);
		if (ret)
			return ret;
		in->pdptr = pdptr;
	}
	ret = walk_tables(mode, in, r->peek ? &l2_peek_ops : &l2_ops, r, w);
	if (ret)
		return ret;
	return l2_to_l1(r, w->gpa, in->access, NESTED_FAULT_FINAL, &w->gpa);
}
