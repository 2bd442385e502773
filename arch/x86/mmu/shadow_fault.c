// SPDX-License-Identifier: GPL-2.0
/*
 * A nested page fault of L2: walk L1's tables, have the VM's own tables map the frame, put both
 * steps into the shadow.
 *
 * L1's tables are read before the lock is taken, and each entry once. What was read is good for a
 * page if no flush came between the reading and the page's generation: that is compared under the
 * lock, and else the walk is done again.
 */
#include "fault.h"
#include "nested_walk.h"
#include "shadow.h"

#include <linux/sched/signal.h>
#include <linux/slab.h>

u64 shadow_host_pat __ro_after_init;

#define ENTRY_W		BIT_ULL(1)
#define ENTRY_D		BIT_ULL(6)
#define ENTRY_NX	BIT_ULL(63)

/**
 * struct shadow_fault - one fault
 * @v: the vCPU
 * @s: the VM's shadow
 * @gpa: L2's address
 * @access: ACCESS_*
 * @gen: generation before L1's tables were read
 * @w: outcome of the walk
 * @path: L1's entries
 * @gfn: L1's frame
 * @own: the VM's own leaf of @gfn; under the lock
 * @own_at: where it is
 * @own_level: its level
 * @level: of the leaf to be made
 * @flush: a present entry was replaced by what is not only more permissive: the CPU's own
 *	translations of it must go
 * @table: L1's table that is to be brought in
 */
struct shadow_fault {
	struct vcpu *v;
	struct vm_shadow *s;
	u64 gpa;
	u32 access;
	u64 gen;
	struct walk w;
	struct walk_path path;
	u64 gfn;
	u64 own;
	u64 *own_at;
	int own_level;
	int level;
	bool flush;
	u64 table;
};

enum shadow_step {
	SHADOW_DONE,
	SHADOW_WALK,	/* L1 flushed meanwhile: walk its tables again */
	SHADOW_OWN,	/* the VM's own tables do not map the frame, or not for this access */
	SHADOW_FRAMES,	/* the list for the leaf is to be made, then go on */
	SHADOW_TABLE_IN,	/* @table is to be brought in, then go on */
	SHADOW_FULL,	/* no page left: make room, go on */
};

/* ---- what L1's entries say ---- */

/*
 * L1's tables have no entry at this level of the shadow: above their root, or below a large page.
 */
static bool above_l1(const struct shadow_fault *f, int level)
{
	return level > f->path.top;
}

static u64 l1_entry(const struct shadow_fault *f, int level)
{
	return above_l1(f, level) ? 0 : f->path.step[max(level, f->path.level)].entry;
}

static bool is_pdptr(const struct shadow_page *sp)
{
	return sp->role.paging == WALK_PAE && sp->role.level == 3;
}

/* What an entry of L1's allows below it. A page that is not dirty must fault to become so. */
static void l1_rights(const struct shadow_fault *f, const struct shadow_page *sp, u64 entry,
		      bool *write, bool *exec)
{
	*write = *exec = true;
	if (above_l1(f, sp->role.level) || sp->role.kind == SHADOW_PIECE || is_pdptr(sp))
		return;
	*write = entry & ENTRY_W;
	*exec = !((entry & ENTRY_NX) && (sp->role.flags & SHADOW_NX));
	if (sp->role.level == f->path.level)
		*write &= !!(entry & ENTRY_D);
}

static unsigned int l1_memtype(const struct shadow_fault *f)
{
	const struct shadow_role *r = &f->v->mmu.nested.root->role;

	return nested_memtype(f->path.step[f->path.level].entry, f->path.level, r->pat,
			      shadow_host_pat);
}

/* ---- roles ---- */

static u8 table_part(const struct shadow_role *parent, u64 gpa, int level)
{
	if (parent->paging != WALK_32BIT)
		return 0;
	return level == 1 ? gpa >> 21 & 1 : gpa >> 30 & 3;
}

/* The page that an entry of @sp leads to on the way to the fault's address */
static void child_role(const struct shadow_fault *f, const struct shadow_page *sp,
		       struct shadow_role *role)
{
	int level = sp->role.level - 1;

	*role = f->v->mmu.nested.root->role;
	role->level = level;
	if (above_l1(f, level)) {
		role->kind = SHADOW_TOP;
	} else if (level >= f->path.level) {
		role->kind = SHADOW_TABLE;
		role->owner = 0;
		role->base = f->path.step[level].gpa & (role->paging == WALK_PAE && level == 3 ? ~31ULL : PAGE_MASK);
		role->part = table_part(role, f->gpa, level);
	} else {
		*role = (struct shadow_role) {
			.kind = SHADOW_PIECE, .level = level, .as_id = role->as_id, .memtype = l1_memtype(f),
			.base = (f->gfn & ~(tdp_span(level + 1) - 1)) << PAGE_SHIFT,
		};
	}
}

/* ---- pages that were there before ---- */

/* No lock held: have what comparing needs at hand. -EFAULT: userspace's memory is not there. */
static int bring_table(struct shadow_fault *f)
{
	u32 word;

	return virt_vcpu_slot(&f->v->virt, f->table >> PAGE_SHIFT) ? virt_guest_read(&f->v->virt, f->table, &word, sizeof(word)) : 0;
}

/* Entry @i of @sp is to lead to a page, which has to be compared after L1's entry was read. */
static enum shadow_step renew_child(struct shadow_fault *f, const struct shadow_page *sp,
				    unsigned int i, u64 seen, struct shadow_page *child)
{
	unsigned int shift;
	u64 gen;

	if (child->role.kind == SHADOW_PIECE ||
	    (child->valid >= sp->valid && test_bit(i, sp->known) && sp->seen[i] == seen))
		return SHADOW_DONE;
	if (child->role.kind == SHADOW_TABLE && child->used &&
	    shadow_cut_differences(f->v, f->s, child)) {
		shadow_table_bytes(&child->role, &f->table, &shift);
		return SHADOW_TABLE_IN;
	}
	/*
	 * Walks that went on before put nothing into the page any more, except for this fault's
	 * own, which has read the entry.
	 */
	gen = shadow_renew(f->s, child, true);
	if (f->gen == gen - 1)
		f->gen = gen;
	return SHADOW_DONE;
}

/* ---- the way down ---- */

static u64 make_link(const struct shadow_page *child, bool write, bool exec)
{
	const struct tdp_format *fmt = tdp_format();
	u64 entry = __sme_set(__pa(child->table)) | fmt->present;

	if (!write)
		entry &= ~fmt->write;
	if (!exec)
		entry = (entry & ~fmt->exec) | fmt->noexec;
	return entry;
}

static bool leads_to(struct vm_shadow *s, const struct shadow_page *sp, unsigned int i, u64 seen,
		     const struct shadow_role *role)
{
	u64 entry = READ_ONCE(sp->table[i]);

	return tdp_table(entry, sp->role.level) && (!sp->seen || sp->seen[i] == seen) &&
	       !memcmp(&shadow_child(s, sp, i)->role, role, sizeof(*role));
}

static enum shadow_step go_down(struct shadow_fault *f, struct shadow_page **at)
{
	struct shadow_page *child, *sp = *at;
	unsigned int i = tdp_index(f->gpa >> PAGE_SHIFT, sp->role.level);
	u64 seen = l1_entry(f, sp->role.level);
	struct shadow_role role;
	enum shadow_step step;
	bool write, exec;

	child_role(f, sp, &role);
	if (leads_to(f->s, sp, i, seen, &role)) {
		*at = shadow_child(f->s, sp, i);
		return SHADOW_DONE;
	}
	child = shadow_find(f->s, &role);
	if (!child)
		child = shadow_add(f->v, &role, role.kind == SHADOW_PIECE ? U64_MAX : 0);
	if (!child)
		return SHADOW_FULL;
	step = renew_child(f, sp, i, seen, child);
	if (step != SHADOW_DONE)
		return step;
	if (tdp_present(READ_ONCE(sp->table[i]))) {
		shadow_drop(f->s, sp, i);
		f->flush = true;
	}
	l1_rights(f, sp, seen, &write, &exec);
	shadow_link(f->s, sp, i, child, make_link(child, write, exec), seen);
	list_move(&child->lru, &f->s->lru);
	*at = child;
	return SHADOW_DONE;
}

/* ---- the leaf ---- */

/* The VM's own leaf; mmu_lock held. False: it is not there, or does not allow the access. */
static bool find_own(struct shadow_fault *f)
{
	f->own = 0;
	/* What the tables do not reach has another frame's entries there. */
	if (unlikely(f->gfn >= tdp_limit(vcpu_vm(f->v))))
		return false;
	f->own_at = tdp_find(vcpu_vm(f->v), f->v->virt.as_id, f->gfn, &f->own_level);
	f->own = READ_ONCE(*f->own_at);
	return tdp_present(f->own) && tdp_allows(f->own, f->access);
}

static bool own_uncached(u64 own)
{
	const struct tdp_format *fmt = tdp_format();

	return fmt->memtype_uc ? (own & fmt->memtype_uc) == fmt->memtype_uc : (own & fmt->memtype) != fmt->memtype;
}

/* A leaf with what the VM's own leaf @own (of @own_level) allows for @gfn, and L1 too */
static u64 make_leaf(u64 own, int own_level, u64 gfn, int level, bool write, bool exec,
		     unsigned int memtype)
{
	u64 pfn = tdp_pfn(own) + (gfn & (tdp_span(own_level) - 1) & ~(tdp_span(level) - 1));
	bool uncached = own_uncached(own);
	u32 flags = 0;
	u64 leaf;

	if (write && (own & tdp_format()->write))
		flags |= TDP_WRITE;
	if (exec && tdp_executable(own))
		flags |= TDP_EXEC;
	if (uncached)
		flags |= TDP_UNCACHED;
	leaf = tdp_make_leaf(pfn, level, flags);
	return uncached ? leaf : leaf | nested_memtype_bits(memtype, level);
}

/*
 * The new leaf only allows more, which the CPU sees when it faults on what it has of the old one
 * (AMD APM vol. 2, "TLB Management").
 */
static bool only_more(u64 old, u64 new)
{
	const struct tdp_format *fmt = tdp_format();
	u64 grants = fmt->write | fmt->exec, denies = fmt->noexec,
	    differs = (old ^ new) & ~(fmt->accessed | fmt->dirty);

	return !(differs & ~(grants | denies)) && !(differs & grants & old) &&
	       !(differs & denies & new);
}

/* Return: the leaf. */
static u64 put_leaf(struct shadow_fault *f, struct shadow_page *sp)
{
	unsigned int i = tdp_index(f->gpa >> PAGE_SHIFT, sp->role.level);
	u64 ad = tdp_format()->accessed | tdp_format()->dirty;
	u64 seen = l1_entry(f, sp->role.level), new, old = READ_ONCE(sp->table[i]);
	unsigned int memtype = sp->role.kind == SHADOW_PIECE ? sp->role.memtype : l1_memtype(f);
	bool write, exec;

	l1_rights(f, sp, seen, &write, &exec);
	new = make_leaf(f->own, f->own_level, f->gfn, sp->role.level, write, exec, memtype) |
	      tdp_format()->accessed;
	if (tdp_present(old)) {
		if (!((old ^ new) & ~ad) && (!sp->seen || sp->seen[i] == seen))
			return new;	/* another vCPU was here */
		f->flush |= !only_more(old, new);
		shadow_drop(f->s, sp, i);
	}
	shadow_map(f->s, sp, i, new, seen, shadow_frames_of(f->s, sp, i, seen));
	list_move(&sp->lru, &f->s->lru);
	return new;
}

/*
 * A piece of a large page: neighbours of a 4K page that the VM's own tables have already, too, if
 * they differ from the page's own @leaf in the frame only. They get their A bit when they are used.
 */
static void put_neighbours(struct shadow_fault *f, struct shadow_page *sp, u64 leaf)
{
	unsigned int self = tdp_index(f->gpa >> PAGE_SHIFT, 1),
		     first = round_down(self, FAULT_GROUP);

	if (sp->role.kind != SHADOW_PIECE || f->level > 1 || f->own_level > 1)
		return;
	leaf &= ~(tdp_format()->accessed | tdp_format()->dirty);
	shadow_map_alike(f->s, sp, first, FAULT_GROUP, f->own_at - (self - first), f->own, leaf,
			 shadow_frames_of(f->s, sp, self, 0));
}

/* Both locks held. */
static enum shadow_step install(struct shadow_fault *f)
{
	struct shadow_page *sp = f->v->mmu.nested.root;
	enum shadow_step step;

	if (!find_own(f))
		return SHADOW_OWN;
	f->level = min3(f->own_level, f->path.level, (int)backend_caps.tdp_max_level);
	if (!shadow_has_frames(f->s, f->v->virt.as_id, f->gfn, f->level))
		return SHADOW_FRAMES;
	for (;;) {
		if (sp->role.kind != SHADOW_PIECE && f->gen < sp->valid)
			return SHADOW_WALK;
		if (sp->role.level == f->level)
			break;
		step = go_down(f, &sp);
		if (step != SHADOW_DONE)
			return step;
	}
	put_neighbours(f, sp, put_leaf(f, sp));
	return SHADOW_DONE;
}

static enum shadow_step try_install(struct shadow_fault *f)
{
	struct virt_vm *vm = f->v->virt.vm;
	enum shadow_step step;

	read_lock(&vm->mmu_lock);
	spin_lock(&f->s->lock);
	step = install(f);
	spin_unlock(&f->s->lock);
	read_unlock(&vm->mmu_lock);
	return step;
}

/* ---- the fault ---- */

static int walk_l1(struct shadow_fault *f)
{
	struct nested_reader r = { .v = f->v };
	int ret;

	f->gen = atomic64_read(&f->s->gen);
	/* Pairs with the flush: what L1 wrote before it is read after it. */
	smp_rmb();
	ret = nested_walk_vcpu(&r, f->gpa, f->access, &f->w, &f->path);
	f->gfn = f->w.gpa >> PAGE_SHIFT;
	return ret;
}

static enum nested_fault_result failed(struct shadow_fault *f, int error)
{
	f->v->error = error;
	return NESTED_FAULT_ERROR;
}

/* Have the VM's own tables map the frame. */
static enum nested_fault_result map_own(struct shadow_fault *f)
{
	u32 access = f->access & (ACCESS_WRITE | ACCESS_FETCH);

	if (tdp_present(f->own))
		access |= ACCESS_PRESENT;
	switch (mmu_fault(f->v, f->w.gpa, access)) {
	case FAULT_DONE:
		return NESTED_FAULT_DONE;
	case FAULT_MMIO:
		return NESTED_FAULT_MMIO;
	default:
		return NESTED_FAULT_ERROR;
	}
}

/* What install() lacked, without the locks. */
static enum nested_fault_result prepare(struct shadow_fault *f, enum shadow_step step)
{
	int ret = 0;

	switch (step) {
	case SHADOW_OWN:
		return map_own(f);
	case SHADOW_FRAMES:
		ret = shadow_prepare_frames(vcpu_vm(f->v), f->v->virt.as_id, f->gfn, f->level);
		break;
	case SHADOW_TABLE_IN:
		ret = bring_table(f);
		break;
	case SHADOW_FULL:
		ret = shadow_fill_spare(f->v);
		break;
	default:
		break;
	}
	return ret ? failed(f, ret) : NESTED_FAULT_DONE;
}

static enum nested_fault_result fix(struct shadow_fault *f, u64 kind, struct mmu_nested_fault *nf)
{
	enum nested_fault_result r = NESTED_FAULT_DONE;
	enum shadow_step step = SHADOW_WALK;
	int tries, ret;

	for (tries = 0; tries < SHADOW_TRIES && step != SHADOW_DONE && r == NESTED_FAULT_DONE; tries++) {
		if (step == SHADOW_WALK) {
			ret = walk_l1(f);
			if (ret < 0)
				return failed(f, ret);
			if (ret) {
				*nf = (struct mmu_nested_fault) { .gpa = f->gpa, .error = f->w.error | kind };
				return NESTED_FAULT_REFLECT;
			}
		}
		step = try_install(f);
		r = prepare(f, step);
	}
	if (r == NESTED_FAULT_MMIO)
		*nf = (struct mmu_nested_fault) { .gpa = f->w.gpa };
	return r;
}

enum nested_fault_result mmu_nested_fault(struct vcpu *v, u64 gpa, u32 access, bool table,
					  struct mmu_nested_fault *nf)
{
	enum nested_fault_result r;
	struct shadow_fault f;

	/* The walk's outcome, most of it, is filled in before it is looked at. */
	f.v = v;
	f.s = vm_shadow(vcpu_vm(v));
	f.gpa = gpa;
	f.access = access;
	f.flush = false;

	/* The CPU treats every access to L2's tables as a write. */
	if (table)
		f.access = (access & ACCESS_PRESENT) | ACCESS_WRITE;
	if (shadow_fill_spare(v))
		return failed(&f, -ENOMEM);
	r = fix(&f, table ? NESTED_FAULT_TABLE : NESTED_FAULT_FINAL, nf);
	if (f.flush)
		virt_request(&v->virt, VIRT_REQ_TLB_FLUSH);
	return r;
}
