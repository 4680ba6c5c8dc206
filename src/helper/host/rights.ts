/** Rights of anybody but the owner (inode(7)). */
export const RIGHTS_OF_OTHERS = 0o077;
