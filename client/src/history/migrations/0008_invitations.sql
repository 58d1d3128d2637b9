-- What an inviter says of a group, beside the welcome: sealed while its tree
-- is missing, and as it was opened. Empty where nothing was said.
ALTER TABLE treeless_welcome ADD COLUMN note BLOB NOT NULL DEFAULT x'';
ALTER TABLE invitation ADD COLUMN title TEXT NOT NULL DEFAULT '';
ALTER TABLE invitation ADD COLUMN description TEXT NOT NULL DEFAULT '';
